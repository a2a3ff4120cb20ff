//! The x86 branch filter of xz, undone.
//!
//! The packer turns the relative target of each CALL and JMP (opcodes E8 and E9) into an absolute one, so that calls of
//! the same function look the same. Which bytes it took for an instruction follows from the bytes before, by the rules
//! of the filter (liblzma, `simple/x86.c`; Linux `lib/xz/xz_dec_bcj.c`).

/// Turns absolute branch targets back into relative ones, in place. `code` is one whole block.
pub(super) fn decode(code: &mut [u8]) {
    let mut recent = Recent::default();
    let mut at = 0;
    while at + 4 < code.len() {
        if code[at] & 0xfe != 0xe8 {
            at += 1;
            continue;
        }
        recent.advance_to(at);
        if recent.blocks(&code[at..at + 5]) || !is_sign(code[at + 4]) {
            recent.skipped();
            at += 1;
            continue;
        }
        let field = &mut code[at + 1..at + 5];
        let absolute = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
        let relative = recent.relative(absolute, (at as u32).wrapping_add(5));
        field.copy_from_slice(&relative.to_le_bytes());
        at += 5;
    }
}

/// Which of the three bytes before the current one were opcodes that were left alone.
#[derive(Default)]
struct Recent {
    /// Bit `n` set: the byte `n + 1` before the current opcode.
    mask: u32,
    /// Just after the opcode seen last.
    after_last: usize,
}

impl Recent {
    fn advance_to(&mut self, at: usize) {
        let gap = at - self.after_last;
        self.mask = if gap > 2 { 0 } else { (self.mask << gap) & 7 };
        self.after_last = at + 1;
    }

    /// An opcode that overlaps an earlier one is only taken where the packer could tell the two apart.
    fn blocks(&self, instruction: &[u8]) -> bool {
        self.mask != 0 && (matches!(self.mask, 3 | 5 | 6 | 7) || is_sign(instruction[4 - self.farthest()]))
    }

    fn skipped(&mut self) {
        self.mask = (self.mask << 1) | 1;
    }

    fn relative(&self, absolute: u32, next_instruction: u32) -> u32 {
        let mut target = absolute;
        let relative = loop {
            let relative = target.wrapping_sub(next_instruction);
            if self.mask == 0 {
                break relative;
            }
            let shift = 8 * self.farthest() as u32;
            if !is_sign((relative >> (24 - shift)) as u8) {
                break relative;
            }
            target = relative ^ ((1 << (32 - shift)) - 1);
        };
        // Targets are 25 bits wide, sign included.
        ((relative << 7) as i32 >> 7) as u32
    }

    /// How many bytes back the farthest opcode lies.
    fn farthest(&self) -> usize {
        (u32::BITS - self.mask.leading_zeros()) as usize
    }
}

/// Near targets have an upper byte of zeros or of ones.
fn is_sign(byte: u8) -> bool {
    matches!(byte, 0x00 | 0xff)
}
