//! The lines that the script prints, as its header has them. Total over every input: what is no
//! such line is said to be none.

use std::str::FromStr;

/// The only version there is.
const VERSION: &str = "1";

/// Bytes of an address that are passed on: a `sockaddr_in6`.
pub const ADDRESS: usize = 28;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// `B`: every probe is enabled
    Begin,
    /// `E`
    Attempt(Box<Call>),
    /// `H`
    Heartbeat,
    /// `X`: a clause faulted. The attempt comes all the same, without its address
    Fault(Fault),
    /// `C`: so many attempts were seen of one function, in one way
    Count(u64),
    /// Empty, or of a kind that there was not when this was written
    Other,
}

/// Why a clause faulted (`DTRACEFLT_*`, bsd/sys/dtrace.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `KPRIV`: it asked for a privilege of the kernel's, which `copyin` does under System
    /// Integrity Protection
    Kernel,
    /// `UPRIV`: the process is protected from being looked into
    Process,
    /// What a pointer to nowhere makes, mostly
    Other,
}

/// One call, as it was printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub function: String,
    pub wall_ns: i64,
    pub latency_ns: u64,
    pub pid: u32,
    pub ppid: u32,
    pub tid: u64,
    /// The real user
    pub uid: u32,
    pub fd: i32,
    /// As the caller passed it
    pub length: u32,
    /// `None` where it could not be read
    pub address: Option<[u8; ADDRESS]>,
    /// Whether there was an address at all
    pub passed: bool,
    pub ret: i64,
    pub errno: i32,
    pub name: Vec<u8>,
}

/// It is none of the script's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of dtrace's is none that portwatch's script prints")]
pub struct Malformed;

/// Reads one line, without its line feed.
pub fn parse(line: &[u8]) -> Result<Line, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut fields = text.split('\t');
    let kind = fields.next().unwrap_or_default();
    if !matches!(kind, "B" | "E" | "H" | "X" | "C") {
        return Ok(Line::Other);
    }
    if fields.next() != Some(VERSION) {
        return Err(Malformed);
    }
    let fields: Vec<&str> = fields.collect();
    match (kind, &fields[..]) {
        ("B", [_, _]) => Ok(Line::Begin),
        ("H", [_]) => Ok(Line::Heartbeat),
        ("X", [_, _, _, _, kind, _]) => number(kind).map(fault).map(Line::Fault),
        ("C", [_, _, count]) => number(count).map(Line::Count),
        ("E", fields) => {
            let fields = fields.try_into().map_err(|_| Malformed)?;
            Ok(Line::Attempt(Box::new(call(fields)?)))
        }
        _ => Err(Malformed),
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed)
}

const fn fault(kind: i64) -> Fault {
    match kind {
        6 => Fault::Kernel,
        7 => Fault::Process,
        _ => Fault::Other,
    }
}

fn call(fields: &[&str; 15]) -> Result<Call, Malformed> {
    let [
        function,
        wall,
        latency,
        pid,
        parent,
        tid,
        uid,
        fd,
        length,
        how,
        _family,
        hex,
        ret,
        errno,
        name,
    ] = fields;
    let read = match number(how)? {
        0 | 1 => None,
        2 | 3 => Some(address(hex).ok_or(Malformed)?),
        _ => return Err(Malformed),
    };
    Ok(Call {
        function: (*function).to_owned(),
        wall_ns: number(wall)?,
        latency_ns: number(latency)?,
        pid: number(pid)?,
        ppid: number(parent)?,
        tid: number(tid)?,
        // dtrace prints a uid as a signed number.
        uid: id(uid)?,
        fd: number(fd)?,
        length: number(length)?,
        address: read,
        passed: *how != "1",
        ret: number(ret)?,
        errno: number(errno)?,
        name: unescaped(name),
    })
}

/// `nobody` is -2 on macOS.
fn id(text: &str) -> Result<u32, Malformed> {
    let wide: i64 = number(text)?;
    let signed = || i32::try_from(wide).ok().map(i32::cast_unsigned);
    u32::try_from(wide).ok().or_else(signed).ok_or(Malformed)
}

fn address(hex: &str) -> Option<[u8; ADDRESS]> {
    let digits = hex.as_bytes();
    let mut address = [0; ADDRESS];
    if digits.len() != 2 * ADDRESS {
        return None;
    }
    for (byte, pair) in address.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(address)
}

/// What `%S` made of a name: `\ooo`, the escapes of C, and at its end a `\0` for the terminator.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = text.strip_suffix("\\0").unwrap_or(text).bytes();
    let mut name = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        name.push(if byte == b'\\' {
            escape(&mut bytes)
        } else {
            byte
        });
    }
    name
}

/// What stands for a backslash and what follows it (`strchr2esc` in libdtrace's dt_string.c).
fn escape(bytes: &mut std::str::Bytes<'_>) -> u8 {
    let Some(first) = bytes.next() else {
        return b'\\';
    };
    match first {
        b'0'..=b'7' => {
            let mut code = u32::from(first - b'0');
            for _ in 0..2 {
                let next = bytes.clone().next();
                let Some(digit @ b'0'..=b'7') = next else {
                    break;
                };
                bytes.next();
                code = code * 8 + u32::from(digit - b'0');
            }
            u8::try_from(code & 0xff).unwrap_or_default()
        }
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn read(line: &str) -> Call {
        match parse(line.as_bytes()) {
            Ok(Line::Attempt(call)) => *call,
            other => panic!("{other:?}"),
        }
    }

    const LINE: &str = "E\t1\tbind\t1795358724060597238\t7150\t31820\t31731\t31820\t-2\t4\t16\t2\t2\t0200aeb77f0000010000000000000000000000000000000000000000\t-98\t98\tpw t\\t\\\"\\\\\\303\\251\\0";

    #[test]
    fn a_call_is_read_field_by_field() {
        let call = read(LINE);
        assert_eq!(
            (call.pid, call.ppid, call.fd, call.length),
            (31820, 31731, 4, 16)
        );
        assert_eq!(call.uid, u32::MAX - 1);
        assert_eq!(call.address.unwrap()[..8], [2, 0, 0xae, 0xb7, 127, 0, 0, 1]);
        assert_eq!((call.ret, call.errno), (-98, 98));
        assert_eq!(call.name, "pw t\t\"\\é".as_bytes());
    }

    #[test]
    fn an_address_that_was_not_read_is_none() {
        let unread = read(&LINE.replace("\t16\t2\t2\t", "\t16\t0\t0\t"));
        assert_eq!((unread.address, unread.passed), (None, true));
        let null = read(&LINE.replace("\t16\t2\t2\t", "\t16\t1\t0\t"));
        assert_eq!((null.address, null.passed), (None, false));
    }

    #[test]
    fn every_line_of_a_live_run_is_understood() {
        let stream = include_str!("tests/linux-stdout.txt");
        let lines: Vec<_> = stream
            .lines()
            .map(|line| parse(line.as_bytes()).unwrap())
            .collect();
        let count = |wanted: fn(&Line) -> bool| lines.iter().filter(|line| wanted(line)).count();
        assert_eq!(count(|line| *line == Line::Begin), 1);
        assert_eq!(count(|line| *line == Line::Fault(Fault::Other)), 2);
        let attempts = count(|line| matches!(line, Line::Attempt(_)));
        let counted: u64 = lines
            .iter()
            .map(|line| {
                if let Line::Count(count) = line {
                    *count
                } else {
                    0
                }
            })
            .sum();
        assert_eq!((attempts, counted), (216, 216));
    }

    #[test]
    fn a_fault_tells_what_was_refused() {
        let fault = |kind| parse(format!("X\t1\t5\t4\t2\t44\t{kind}\t0").as_bytes());
        assert_eq!(fault(6), Ok(Line::Fault(Fault::Kernel)));
        assert_eq!(fault(7), Ok(Line::Fault(Fault::Process)));
        assert_eq!(fault(1), Ok(Line::Fault(Fault::Other)));
    }

    #[test]
    fn what_is_cut_short_or_of_another_version_is_none() {
        for end in 3..LINE.len() - 30 {
            assert_eq!(parse(&LINE.as_bytes()[..end]), Err(Malformed), "{end}");
        }
        assert_eq!(parse(b"X\t1\t5\t4\t2\t44\tKPRIV\t0"), Err(Malformed));
        assert_eq!(parse(b"B\t2\t1\t2"), Err(Malformed));
        assert_eq!(parse(b""), Ok(Line::Other));
        assert_eq!(parse(b"Z\t1\tnew"), Ok(Line::Other));
    }

    fn octal(digit: u8) -> char {
        char::from(b'0' + digit)
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_line_or_none(bytes in vec(any::<u8>(), 0..400)) {
            drop(parse(&bytes));
        }

        #[test]
        fn any_fields_are_a_line_or_none(kind in "[BEHXC]", fields in vec("[-0-9a-z\\\\]{0,60}", 0..20)) {
            drop(parse(format!("{kind}\t1\t{}", fields.join("\t")).as_bytes()));
        }

        #[test]
        fn a_line_with_any_byte_changed_is_a_line_or_none(at in 0..LINE.len(), byte: u8) {
            let mut bytes = LINE.as_bytes().to_vec();
            bytes[at] = byte;
            drop(parse(&bytes));
        }

        #[test]
        fn any_name_is_read_back(name in vec(1_u8.., 0..40)) {
            let escaped: String = name.iter().flat_map(|byte| ['\\', octal(byte >> 6), octal(byte >> 3 & 7), octal(byte & 7)]).collect();
            prop_assert_eq!(unescaped(&(escaped + "\\0")), name);
        }
    }
}
