//! Files on their way into and out of the guest.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use virtmark_protocol::{CHUNK_BYTES, Request, checksum_append};

use super::asked::Asked;
use super::pending::{Answer, Pending};
use super::shared::Shared;
use crate::{Error, Result};

/// How much content may be on its way and not yet taken.
const WINDOW_BYTES: u32 = 1 << 20;

/// How long the guest may say nothing while it has something to do for a transfer.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// Copies `size` bytes of `source` into the guest.
pub(super) fn put(
    shared: &Arc<Shared>,
    source: &mut dyn Read,
    size: u64,
    path: &str,
    mode: u32,
) -> Result<()> {
    let mut pending = Pending::open(shared, Asked::put(path))?;
    pending.send(&Request::Put { path, mode, size_bytes: size })?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut left, mut crc32c) = (size, 0);
    while left > 0 {
        // At most the length of the chunk.
        let data = &mut chunk[..left.min(CHUNK_BYTES as u64) as usize];
        source.read_exact(data).map_err(|error| {
            let what = format!("read {size} bytes to copy them to {path} in {}", shared.machine);
            Error::io(what)(error)
        })?;
        crc32c = checksum_append(crc32c, data);
        left -= data.len() as u64;
        pending.check()?;
        pending.send(&Request::PutData(data))?;
    }
    pending.send(&Request::PutEnd { crc32c })?;
    match pending.next(Some(SILENCE_TIMEOUT))? {
        Answer::PutDone => {
            pending.finish();
            Ok(())
        }
        other => Err(shared.lost(&pending.asked, other.unexpected())),
    }
}

/// Copies a file of the guest into `target`; gives its permission bits.
pub(super) fn get(shared: &Arc<Shared>, path: &str, target: &mut dyn Write) -> Result<u32> {
    let mut pending = Pending::open(shared, Asked::get(path))?;
    shared.grant(pending.request, WINDOW_BYTES);
    pending.send(&Request::Get { path, window_bytes: WINDOW_BYTES })?;
    let action = || format!("copy {path} from {}", shared.machine);
    let (mut file_mode, mut crc32c, mut taken_bytes) = (0, 0, 0);
    loop {
        match pending.next(Some(SILENCE_TIMEOUT))? {
            Answer::GetStart { mode } => file_mode = mode,
            Answer::GetData(data) => {
                crc32c = checksum_append(crc32c, &data);
                target.write_all(&data).map_err(Error::io(action()))?;
                // A chunk is far smaller than 4 GiB.
                taken_bytes += data.len() as u32;
                if taken_bytes >= WINDOW_BYTES / 2 {
                    pending.grant(std::mem::take(&mut taken_bytes))?;
                }
            }
            Answer::GetEnd { checksum } => {
                pending.finish();
                if checksum == crc32c {
                    return Ok(file_mode);
                }
                let reason =
                    format!("CRC32C {checksum:08x} was announced, {crc32c:08x} arrived; copy it again");
                return Err(Error::io(action())(io::Error::new(io::ErrorKind::InvalidData, reason)));
            }
            other => return Err(shared.lost(&pending.asked, other.unexpected())),
        }
    }
}
