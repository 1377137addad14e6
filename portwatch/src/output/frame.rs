//! Messages in one buffer, each behind its length: for sinks that send one at a time.

/// Appends a message.
pub fn add(out: &mut Vec<u8>, message: &[u8]) {
    // No message comes near four gigabytes.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(message);
}

/// The messages of a buffer that [`add`] has filled.
pub fn split(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (message, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were() {
        let mut out = Vec::new();
        let messages = [&b"one\n"[..], b"", b"two\0\n\nthree"];
        for message in messages {
            add(&mut out, message);
        }
        assert_eq!(split(&out).collect::<Vec<_>>(), messages);
        assert_eq!(split(&out[..out.len() - 1]).count(), 2);
    }
}
