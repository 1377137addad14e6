//! What was perhaps meant by a name that nothing goes by.

/// How alike two names must be: of three letters, two may have changed places.
const ALIKE: f64 = 0.6;

/// The name that is most like what was typed, in capitals or not, if one is like it at all.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    let alike = |name: &'a str| {
        let alike = strsim::normalized_damerau_levenshtein(&typed, &name.to_ascii_lowercase());
        (alike, name)
    };
    let best = names.into_iter().map(alike);
    // Of several that are as like, the first.
    let (alike, name) = best.min_by(|(one, _), (other, _)| other.total_cmp(one))?;
    (alike > ALIKE).then_some(name)
}

/// `; did you mean …?`, where something is like it.
pub fn suggestion(typed: &str, names: &[&str]) -> String {
    let nearest = nearest(typed, names.iter().copied());
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised_and_another_word_is_not() {
        let names = ["tcp", "udp", "connect", "bind"];
        assert_eq!(nearest("tpc", names), Some("tcp"));
        assert_eq!(nearest("bnd", names), Some("bind"));
        assert_eq!(nearest("CONECT", names), Some("connect"));
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("accept", names), None);
        assert_eq!(nearest("tcp", []), None);
        assert_eq!(nearest("päid", ["pid", "ppid"]), Some("pid"));
        assert_eq!(suggestion("tpc", &names), "; did you mean `tcp`?");
        assert_eq!(suggestion("accept", &names), "");
    }
}
