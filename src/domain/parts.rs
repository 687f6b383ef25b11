//! How a file that comes in parts is cut: parts of one size, but for the last.

const MIB: u64 = 1 << 20;

/// The smallest part but the last, in bytes. This and the next three are limits of Amazon S3
/// ("Amazon S3 multipart upload limits" in its user guide), which the stores that speak its protocol
/// share; the largest file is what all of them take.
const MIN_PART_BYTES: u64 = 5 * MIB;

/// The largest part, in bytes.
const MAX_PART_BYTES: u64 = 5 << 30;

/// The most parts of a file, and the highest part number.
const MAX_PARTS: u16 = 10_000;

/// The largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 5 << 40;

/// The size of a part where nobody asks for another and the file is not too large for it, in bytes:
/// little is sent again after a break, and a request still costs little beside its bytes.
const USUAL_PART_BYTES: u64 = 8 * MIB;

/// How a file of a known size is cut. There is none with parts that storage would not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPlan {
    size: u64,
    part_size: u64,
}

/// Why a file cannot be cut as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotCut {
    /// There is nothing to cut.
    #[error("size is 0: the file is empty")]
    Empty,
    /// The file is larger than any store takes.
    #[error("a file in parts may have at most {MAX_FILE_BYTES} bytes")]
    FileTooLarge,
    /// The parts would be too small, too many, or too large.
    #[error(
        "partSize takes {least} to {MAX_PART_BYTES} bytes for a file of this size: leave it out to \
         have one chosen"
    )]
    PartSize {
        /// The smallest size that the parts of this file may have, in bytes.
        least: u64,
    },
}

impl PartPlan {
    /// Cuts a file into parts of the size that is wanted, rounded up to whole MiB, or of one that
    /// suits the file.
    ///
    /// # Errors
    /// [`CannotCut`].
    pub fn new(size: u64, wanted: Option<u64>) -> Result<Self, CannotCut> {
        match size {
            0 => return Err(CannotCut::Empty),
            size if size > MAX_FILE_BYTES => return Err(CannotCut::FileTooLarge),
            _ => {}
        }
        let least = whole_mib(size.div_ceil(MAX_PARTS.into())).max(MIN_PART_BYTES);
        let part_size = match wanted {
            None => least.max(USUAL_PART_BYTES),
            Some(wanted) if !(MIN_PART_BYTES..=MAX_PART_BYTES).contains(&wanted) => {
                return Err(CannotCut::PartSize { least });
            }
            Some(wanted) if whole_mib(wanted) < least => {
                return Err(CannotCut::PartSize { least });
            }
            Some(wanted) => whole_mib(wanted),
        };
        Ok(Self { size, part_size })
    }

    /// How a file was cut, from its record; `None` if no file is cut like this.
    #[must_use]
    pub fn of_record(size: u64, part_size: u64) -> Option<Self> {
        Self::new(size, Some(part_size)).ok().filter(|plan| plan.part_size == part_size)
    }

    /// The length of every part but the last, in bytes.
    #[must_use]
    pub const fn part_size(self) -> u64 {
        self.part_size
    }

    /// How many parts there are: at least one, at most 10,000.
    #[must_use]
    pub fn count(self) -> u16 {
        let count = self.size.div_ceil(self.part_size);
        u16::try_from(count).expect("the parts are large enough for 10,000 of them to suffice")
    }

    /// The exact length of a part, in bytes; `None` if there is no part of this number. Parts are
    /// numbered from 1.
    #[must_use]
    pub fn length_of(self, number: u16) -> Option<u64> {
        if !(1..=self.count()).contains(&number) {
            return None;
        }
        let before = u64::from(number - 1) * self.part_size;
        Some((self.size - before).min(self.part_size))
    }
}

/// Rounds up to whole MiB.
const fn whole_mib(bytes: u64) -> u64 {
    bytes.div_ceil(MIB) * MIB
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;
    const TIB: u64 = 1 << 40;

    #[test]
    fn part_sizes() {
        for (size, wanted, expected) in [
            // Nobody asks for a size: part size, parts, length of the last.
            (1, None, Ok((8 * MIB, 1, 1))),
            (8 * MIB, None, Ok((8 * MIB, 1, 8 * MIB))),
            (8 * MIB + 1, None, Ok((8 * MIB, 2, 1))),
            (80_000 * MIB, None, Ok((8 * MIB, 10_000, 8 * MIB))),
            (80_000 * MIB + 1, None, Ok((9 * MIB, 8889, 8 * MIB + 1))),
            (5 * TIB, None, Ok((525 * MIB, 9987, 230 * MIB))),
            (0, None, Err(CannotCut::Empty)),
            (5 * TIB + 1, None, Err(CannotCut::FileTooLarge)),
            // Somebody does.
            (100 * MIB, Some(5 * MIB), Ok((5 * MIB, 20, 5 * MIB))),
            (100 * MIB, Some(5 * MIB + 1), Ok((6 * MIB, 17, 4 * MIB))),
            (1, Some(5 * GIB), Ok((5 * GIB, 1, 1))),
            (50_000 * MIB, Some(5 * MIB), Ok((5 * MIB, 10_000, 5 * MIB))),
            (5 * TIB, Some(5 * GIB), Ok((5 * GIB, 1024, 5 * GIB))),
            (1, Some(5 * MIB - 1), Err(CannotCut::PartSize { least: 5 * MIB })),
            (1, Some(0), Err(CannotCut::PartSize { least: 5 * MIB })),
            (1, Some(5 * GIB + 1), Err(CannotCut::PartSize { least: 5 * MIB })),
            (1, Some(u64::MAX), Err(CannotCut::PartSize { least: 5 * MIB })),
            (50_000 * MIB + 1, Some(5 * MIB), Err(CannotCut::PartSize { least: 6 * MIB })),
            (5 * TIB, Some(524 * MIB), Err(CannotCut::PartSize { least: 525 * MIB })),
        ] {
            let plan = PartPlan::new(size, wanted);
            let shape = plan.map(|plan| {
                (plan.part_size(), plan.count(), plan.length_of(plan.count()).unwrap())
            });
            assert_eq!(shape, expected, "{size} in {wanted:?}");
        }
    }

    #[test]
    fn a_record_of_no_plan_is_none() {
        assert!(PartPlan::of_record(100 * MIB, 8 * MIB).is_some());
        for (size, part_size) in [(0, 8 * MIB), (1, 0), (1, 5 * MIB + 1), (5 * TIB, 5 * MIB)] {
            assert_eq!(PartPlan::of_record(size, part_size), None, "{size} in {part_size}");
        }
    }

    /// Any size, with the edges of every limit among them.
    fn any_size() -> impl Strategy<Value = u64> {
        let edges = [MIB, 5 * MIB, 8 * MIB, 80_000 * MIB, 5 * GIB, 50_000 * MIB, TIB, 5 * TIB];
        let near = (proptest::sample::select(edges.to_vec()), 0..4u64)
            .prop_map(|(edge, off)| (edge - 2 + off).clamp(1, 5 * TIB));
        prop_oneof![1..=5 * TIB, 1..=GIB, near]
    }

    proptest! {
        #[test]
        fn every_file_up_to_5_tib_is_cut_as_storage_takes_it(
            size in any_size(),
            wanted in proptest::option::of(MIN_PART_BYTES..=MAX_PART_BYTES),
        ) {
            let plan = match PartPlan::new(size, wanted) {
                Ok(plan) => plan,
                Err(CannotCut::PartSize { least }) => {
                    prop_assert!(wanted.is_some_and(|wanted| wanted < least));
                    PartPlan::new(size, Some(least)).expect("the size that it was told to take")
                }
                Err(error) => panic!("{error}"),
            };
            prop_assert!(plan.count() <= 10_000);
            prop_assert_eq!(plan.part_size() % MIB, 0);
            prop_assert!((5 * MIB..=5 * GIB).contains(&plan.part_size()));
            let lengths = (1..=plan.count()).map(|number| plan.length_of(number).unwrap());
            prop_assert_eq!(lengths.sum::<u64>(), size, "nothing is lost, nothing comes twice");
            prop_assert!((1..plan.count()).all(|n| plan.length_of(n) == Some(plan.part_size())));
            prop_assert_eq!(plan.length_of(0), None);
            prop_assert_eq!(plan.length_of(plan.count() + 1), None);
            prop_assert_eq!(PartPlan::of_record(size, plan.part_size()), Some(plan));
        }
    }
}
