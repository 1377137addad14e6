//! What a file or a variable gives for an option, as it would be typed.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction};
use toml::de::DeValue;

/// A value outside the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Flag(bool),
    /// Numbers too
    Text(OsString),
    List(Vec<String>),
    /// None of these: what it is
    Other(&'static str),
}

impl Value {
    pub(super) fn of_file(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Array(values) => {
                let texts = values.iter().map(|value| text(value.get_ref()));
                texts
                    .collect::<Option<_>>()
                    .map_or(Self::Other("a list of something else"), Self::List)
            }
            DeValue::Table(_) => Self::Other("a table"),
            DeValue::Datetime(_) => Self::Other("a date"),
            value => text(value).map_or(Self::Other("no number"), |text| Self::Text(text.into())),
        }
    }

    /// A variable is always text: what it means depends on the option.
    pub(super) fn of_variable(arg: &Arg, value: &OsStr) -> Self {
        let flag = match value.to_str() {
            Some("1" | "true" | "yes") => Some(true),
            Some("0" | "false" | "no") => Some(false),
            _ => None,
        };
        match flag {
            Some(flag) if takes_flag(arg) && !is_counted(arg) => Self::Flag(flag),
            _ => Self::Text(value.to_owned()),
        }
    }

    /// What would be typed; nothing for what is turned off.
    pub(super) fn arguments(&self, arg: &Arg) -> Result<Vec<OsString>, String> {
        let long = arg.get_long().unwrap_or_default();
        let alone = || OsString::from(format!("--{long}"));
        let with = |value: &OsStr| {
            let mut argument = alone();
            argument.push("=");
            argument.push(value);
            argument
        };
        Ok(match self {
            Self::Flag(false) if takes_flag(arg) => Vec::new(),
            Self::Flag(true) if takes_flag(arg) => vec![alone()],
            Self::Text(number) if is_counted(arg) => {
                let times: Option<u8> = number.to_str().and_then(|number| number.parse().ok());
                let times = times.ok_or_else(|| expected(arg))?;
                vec![alone(); times.into()]
            }
            Self::Text(value) if takes_text(arg) => vec![with(value)],
            Self::List(values) if is_list(arg) => {
                values.iter().map(|value| with(value.as_ref())).collect()
            }
            Self::Other(what) => return Err(format!("{}, not {what}", expected(arg))),
            Self::Flag(_) | Self::Text(_) | Self::List(_) => return Err(expected(arg)),
        })
    }
}

fn expected(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let what = match arg.get_action() {
        ArgAction::SetTrue => "true or false",
        ArgAction::Count => "a small number",
        ArgAction::Append => "a text, a number, or a list of them",
        _ if takes_flag(arg) => "a text, true or false",
        _ => "a text or a number",
    };
    format!("`{long}` takes {what}")
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(number.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

pub(super) fn is_counted(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Count)
}

pub(super) fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn takes_text(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// Whether it can stand without a value.
fn takes_flag(arg: &Arg) -> bool {
    let optional = arg
        .get_num_args()
        .is_some_and(|range| range.min_values() == 0);
    optional || matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count)
}
