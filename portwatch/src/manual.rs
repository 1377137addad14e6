//! Manual pages and completions, of the one definition of the command line.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{
    cli::{Cli, EXAMPLES, EXIT_CODES},
    fields,
    filter::Field,
};

const NAME: &str = "portwatch";

/// Of the subcommands; portwatch's own are those of its help.
const OF_SUBCOMMANDS: [(&str, &str); 4] = [
    (
        "doctor",
        "\
  portwatch doctor                what this host and these privileges allow
  portwatch doctor --json         the same for a program",
    ),
    (
        "replay",
        "\
  portwatch replay day.jsonl -x        the failures of a recording
  portwatch replay day.jsonl.zst --json -P 80   what touched port 80, as a recording
  portwatch replay - -o csv            what comes in, as a table",
    ),
    (
        "why",
        "\
  portwatch why 80                     may I open port 80
  portwatch why 127.0.0.1:80 -u alice  may alice
  portwatch why --connect [::1]:5432   would a connect succeed
  portwatch why 8080 --pid 4711 --try  may a process; and try it",
    ),
    (
        "explain",
        "\
  portwatch explain EACCES                  what can cause an error
  portwatch explain low_port_no_capability  more about one cause",
    ),
];

const FILES: &str = "\
  ~/.config/portwatch/config.toml   options of the user; in $XDG_CONFIG_HOME if that is set
  /etc/portwatch.toml               options for everybody";

const EXPRESSIONS: &str = "\
  FIELD=LIST and FIELD!=LIST, with not, and, or (which bind in this order), and
  parentheses:

  port=80,443,8000-8100,!8010 and (user=alice or not outcome=ok)

  A LIST holds for what is one of its values, and none of those with a !.
";

const FIELDS: &str = "For \\-\\-fields, \\-\\-format and \\-\\-group\\-by:";

const ENVIRONMENT: &str = "\
  PORTWATCH_*       the option of that name: PORTWATCH_NO_HEADER=1
  PORTWATCH_CONFIG  an options file, as --config
  NO_COLOR          no colours, unless --color always
  SUDO_UID          whom a command runs as";

/// A page, by the name of its file.
pub struct Page {
    pub file: String,
    pub text: Vec<u8>,
}

/// Of portwatch first, then of each subcommand.
pub fn pages() -> io::Result<Vec<Page>> {
    let mut cli = Cli::command();
    cli.build();
    let is_shown = |sub: &&clap::Command| !sub.is_hide_set() && sub.get_name() != "help";
    let subcommands: Vec<_> = cli.get_subcommands().filter(is_shown).collect();
    let names: Vec<_> = subcommands.iter().map(|sub| sub.get_name()).collect();
    let mut pages = vec![page(
        &cli,
        EXAMPLES.trim_start_matches("Examples:\n"),
        &names,
    )?];
    for sub in subcommands {
        let mut examples = OF_SUBCOMMANDS.into_iter();
        let examples = examples.find(|(name, _)| *name == sub.get_name());
        pages.push(page(sub, examples.map_or("", |(_, text)| text), &[])?);
    }
    Ok(pages)
}

fn page(command: &clap::Command, examples: &str, others: &[&str]) -> io::Result<Page> {
    let is_whole = !others.is_empty();
    let man = Man::new(command.clone()).manual("User Commands");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    section(&mut text, "EXAMPLES", examples)?;
    man.render_options_section(&mut text)?;
    if is_whole {
        man.render_subcommands_section(&mut text)?;
        section(
            &mut text,
            "EXIT STATUS",
            EXIT_CODES.trim_start_matches("Exit status:\n"),
        )?;
        section(&mut text, "FILTER EXPRESSIONS", &expressions())?;
        list_fields(&mut text)?;
        section(&mut text, "FILES", FILES)?;
        section(&mut text, "ENVIRONMENT", ENVIRONMENT)?;
    }
    let others: Vec<_> = others
        .iter()
        .map(|other| format!("  {NAME}-{other}(1)"))
        .collect();
    let see = if is_whole {
        others.join("\n")
    } else {
        format!("  {NAME}(1)")
    };
    section(&mut text, "SEE ALSO", &see)?;
    Ok(Page {
        file: man.get_filename(),
        text,
    })
}

/// What `--filter` takes.
fn expressions() -> String {
    let line = |field: Field| format!("  {:<10} {}", field.name(), field.expects());
    format!("{EXPRESSIONS}\n{}", Field::ALL.map(line).join("\n"))
}

/// What `--fields`, `--format` and `--group-by` take, none of them hyphenated.
fn list_fields(text: &mut Vec<u8>) -> io::Result<()> {
    let names: Vec<_> = fields::TABLE.iter().map(|field| field.name).collect();
    let names = names.join(", ");
    writeln!(
        text,
        ".SH \"FIELDS\"\n{FIELDS}\n.PP\n.nh\n.ad l\n{names}\n.ad b\n.hy"
    )
}

/// Lines as they are (`.nf`), with what roff would take for its own escaped.
fn section(text: &mut Vec<u8>, title: &str, lines: &str) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(text, ".SH \"{title}\"\n.nf")?;
    for line in lines.lines() {
        let line = line.strip_prefix("  ").unwrap_or(line);
        let escaped = line
            .replace('\\', "\\e")
            .replace('-', "\\-")
            .replace('~', "\\(ti")
            .replace('\'', "\\(aq");
        writeln!(text, "\\&{escaped}")?;
    }
    writeln!(text, ".fi")
}

/// Writes every page into a directory, and tells which.
pub fn write(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let write = |page: Page| {
        let path = directory.join(page.file);
        fs::write(&path, page.text).map(|()| path)
    };
    pages()?.into_iter().map(write).collect()
}

/// What a shell reads to complete the command.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut shown(&Cli::command()), NAME, &mut text);
    text
}

/// The part of a command that help shows. clap_complete has no regard for what is hidden, and clap
/// cannot take an argument away again.
fn shown(command: &clap::Command) -> clap::Command {
    let arguments = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let part = clap::Command::new(command.get_name().to_owned())
        .args(arguments)
        .subcommands(subcommands.map(shown));
    let part = match command.get_about() {
        Some(about) => part.about(about.clone()),
        None => part,
    };
    match command.get_version() {
        Some(version) => part.version(version.to_owned()),
        None => part,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;

    use super::*;

    #[test]
    fn every_example_parses() {
        let of_subcommands = OF_SUBCOMMANDS.iter().map(|(_, examples)| *examples);
        let mut checked = 0;
        for example in of_subcommands.chain([EXAMPLES]).flat_map(str::lines) {
            // What it means stands behind the gap.
            let example = example.trim().split("  ").next().unwrap_or_default();
            if example.starts_with(NAME) {
                checked += 1;
                let parsed = Cli::try_parse_from(example.split(' '));
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
        assert!(checked > 15, "{checked}");
    }

    /// What some commands hide and others show is left to the snapshot.
    #[test]
    fn what_help_hides_no_shell_offers() {
        let cli = Cli::command();
        let all = || std::iter::once(&cli).chain(cli.get_subcommands());
        let options = |hidden| {
            let arguments = all().flat_map(clap::Command::get_arguments);
            let chosen = arguments.filter(move |arg| arg.is_hide_set() == hidden);
            chosen
                .filter_map(clap::Arg::get_long)
                .collect::<BTreeSet<_>>()
        };
        let (hidden, visible) = (options(true), options(false));
        let nowhere: Vec<_> = hidden.difference(&visible).collect();
        assert!(nowhere.contains(&&"dtrace"));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(shell)).unwrap();
            let words: BTreeSet<_> = script
                .split(|c: char| !(c.is_alphanumeric() || c == '-'))
                .map(|word| word.trim_start_matches('-'))
                .collect();
            for option in nowhere.iter().filter(|option| ***option != "dtrace") {
                assert!(!words.contains(**option), "{shell}: --{option}");
            }
            assert!(
                !script.contains("--dtrace") && !script.contains("-l dtrace"),
                "{shell}"
            );
            assert!(
                !script.contains("why-trial") && words.contains("no-loopback"),
                "{shell}"
            );
        }
    }

    #[test]
    fn every_subcommand_has_a_page_with_examples() {
        let pages = pages().unwrap();
        assert!(pages.len() > OF_SUBCOMMANDS.len());
        for (name, _) in OF_SUBCOMMANDS {
            let file = format!("{NAME}-{name}.1");
            let page = pages.iter().find(|page| page.file == file).unwrap();
            let text = String::from_utf8_lossy(&page.text);
            assert!(text.contains(".SH \"EXAMPLES\""), "{text}");
        }
    }
}
