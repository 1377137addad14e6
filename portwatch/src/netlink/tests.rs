use proptest::{collection::vec, prelude::*};

use super::*;

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let header = Header {
        len: u32::try_from(HEADER + body.len()).unwrap(),
        kind,
        flags,
        sequence: 1,
        port: 0,
    };
    let mut bytes = [header.as_bytes(), body].concat();
    bytes.resize(aligned(bytes.len()), 0);
    bytes
}

#[test]
fn messages_follow_one_another_at_multiples_of_four() {
    let bytes = [message(20, 2, b"abcde"), message(NLMSG_DONE, 2, &[0; 4])].concat();
    let found: Vec<_> = messages(&bytes)
        .map(|found| (found.kind, found.body))
        .collect();
    assert_eq!(found, [(20, &b"abcde"[..]), (NLMSG_DONE, &[0; 4][..])]);
}

#[test]
fn what_is_cut_short_is_no_message() {
    let whole = message(20, 2, b"abcd");
    for len in 0..whole.len() {
        assert_eq!(messages(&whole[..len]).count(), 0, "{len}");
    }
    assert_eq!(messages(&whole).count(), 1);
}

#[test]
fn a_length_that_says_too_little_ends_the_reading() {
    for len in 0..HEADER {
        let mut bytes = message(20, 2, b"abcd");
        bytes[..4].copy_from_slice(&u32::try_from(len).unwrap().to_ne_bytes());
        assert_eq!(messages(&bytes).count(), 0, "{len}");
    }
}

#[test]
fn a_dump_can_end_in_an_error() {
    let end = |body: &[u8]| {
        let bytes = message(NLMSG_DONE, 2, body);
        messages(&bytes).next().unwrap().end()
    };
    let whole = Ok(ControlFlow::Continue(()));
    assert_eq!(end(&0_i32.to_ne_bytes()), whole);
    assert_eq!(end(&[]), whole);
    let refused = Err(Failure::Refused(Errno::NOENT));
    assert_eq!(end(&(-2_i32).to_ne_bytes()), refused);
}

#[test]
fn an_error_is_the_kernels_answer() {
    let error = |body: &[u8]| {
        let bytes = message(NLMSG_ERROR, 0, body);
        messages(&bytes).next().unwrap().error()
    };
    assert_eq!(
        error(&(-101_i32).to_ne_bytes()),
        Failure::Refused(Errno::NETUNREACH)
    );
    for strange in [0, 1, -4096, i32::MIN] {
        assert_eq!(
            error(&strange.to_ne_bytes()),
            Failure::Failed(Errno::BADMSG)
        );
    }
    assert_eq!(error(b""), Failure::Failed(Errno::BADMSG));
}

#[test]
fn attributes_come_back_as_they_were_written() {
    let mut bytes = Vec::new();
    push_attribute(&mut bytes, 1, b"lo\0");
    push_attribute(&mut bytes, 0x8012, &[]);
    push_attribute(&mut bytes, 2, &[1, 2, 3, 4]);
    assert_eq!(bytes.len(), 8 + 4 + 8);
    let found: Vec<_> = attributes(&bytes).collect();
    assert_eq!(found, [(1, &b"lo\0"[..]), (18, b""), (2, &[1, 2, 3, 4])]);
}

/// RTM_GETLINK of the loopback interface, which every namespace has.
#[test]
fn the_kernel_answers() {
    const RTM_GETLINK: u16 = 18;
    let mut socket = Netlink::to_route().unwrap();
    let mut question = [0_u8; 16];
    question[4..8].copy_from_slice(&1_i32.to_ne_bytes());
    let answer = socket.ask(RTM_GETLINK, &question).unwrap();
    assert!(attributes(&answer[16..]).any(|(kind, value)| kind == 3 && value == b"lo\0"));
    question[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
    assert_eq!(
        socket.ask(RTM_GETLINK, &question),
        Err(Failure::Refused(Errno::NODEV))
    );
}

proptest! {
    #[test]
    fn no_answer_is_too_strange(bytes in vec(any::<u8>(), 0..200)) {
        for message in messages(&bytes) {
            prop_assert!(message.body.len() <= bytes.len());
            let _: Failure = message.error();
        }
        prop_assert!(attributes(&bytes).count() <= bytes.len());
    }

    #[test]
    fn lengths_of_any_size_are_held_against_what_is_there(len: u32, rest in vec(any::<u8>(), 0..64)) {
        let bytes = [&len.to_ne_bytes()[..], &rest].concat();
        prop_assert!(messages(&bytes).count() <= 5);
    }
}
