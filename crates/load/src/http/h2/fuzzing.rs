//! A connection whose server says anything.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{Call, Open, Prepared, Socket};

/// Has as many calls wait, gives them these bytes in pieces, and says how each ended, in order, and what was wrong with
/// the bytes.
///
/// # Panics
/// When the system has no socket pair left.
pub fn read_http2(bytes: &[u8], calls: u32, piece_bytes: usize) -> (Vec<String>, Option<&'static str>) {
    let (ours, _theirs) = UnixStream::pair().expect("two descriptors are free");
    ours.set_nonblocking(true).expect("a socket can be made so");
    let mut open = Open::new(Socket::of(ours));
    let request = Prepared { block: vec![0x82], body: vec![b'x'; 70_000] };
    let start = Instant::now();
    for number in 0..calls {
        let due = start + Duration::from_secs(u64::from(number));
        open.begin(Call { due, limit: due }, &request);
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let (mut ended, mut wrong) = (Vec::new(), None);
    for piece in bytes.chunks(piece_bytes.max(1)) {
        if let Err(why) = open.read(piece, address, &mut ended) {
            wrong = Some(why);
            break;
        }
        // Nobody reads what is sent: an error of the socket is not what is looked at.
        let _ = open.send(&request.body);
    }
    assert_eq!(open.streams.len() + ended.len(), calls as usize, "a call was lost, or ended twice");
    let told = |(call, result): (Call, _)| format!("{:?} {result:?}", call.due - start);
    (ended.into_iter().map(told).collect(), wrong)
}
