//! Text that stays the same from line to line.

/// What was written last, and what it was made of.
#[derive(Debug)]
pub(super) struct Memo<K> {
    key: Option<K>,
    text: Vec<u8>,
}

impl<K: PartialEq> Memo<K> {
    /// Appends what `write` makes of `key`. It must not look at anything else: it is asked only where
    /// the key is another one than last.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, key: K, write: impl FnOnce(&K, &mut Vec<u8>)) {
        if self.key.as_ref() != Some(&key) {
            self.text.clear();
            write(&key, &mut self.text);
            self.key = Some(key);
        }
        out.extend_from_slice(&self.text);
    }
}

impl<K> Default for Memo<K> {
    fn default() -> Self {
        Self {
            key: None,
            text: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_made_anew_where_its_key_is_another_one() {
        let mut memo = Memo::default();
        let mut made = Vec::new();
        let mut out = Vec::new();
        for key in [1_u8, 1, 2, 1] {
            memo.put(&mut out, key, |key, text| {
                made.push(*key);
                text.push(b'0' + key);
            });
        }
        assert_eq!((out.as_slice(), made), (&b"1121"[..], vec![1, 2, 1]));
    }
}
