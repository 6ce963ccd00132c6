//! A copy of the partition table rots between two updates, and is written anew from the other.

use twinhull_layout::table::Flaw;
use twinhull_updater::install::mend_table;

use crate::oracle;
use crate::recorder::{Effect, Fault, Machine, Op, Recorder};
use crate::world::{Image, images};

/// A machine whose disk is damaged at byte `at`, counted from its end if negative.
fn rotten(image: &Image, at: i64) -> Machine {
    let mut machine = Machine::new(image, None);
    let length = i64::try_from(machine.disk.len()).unwrap();
    let at = usize::try_from(if at < 0 { length + at } else { at }).unwrap();
    machine.disk[at] = !machine.disk[at];
    machine
}

#[test]
fn table_is_as_it_was_and_one_that_is_whole_is_not_touched() {
    let image = &images()[1];
    let whole = Machine::new(image, None);
    for (at, flaw) in [
        (512 + 16, Flaw::Primary),
        (1024 + 40, Flaw::Primary),
        (-512 + 16, Flaw::Backup),
        (-33 * 512 + 40, Flaw::Backup),
    ] {
        let io = Recorder::new(rotten(image, at), image);
        assert_eq!(mend_table(&io).unwrap(), Some(flaw), "{at}");
        assert!(io.machine() == whole, "{at}");
        io.take_log();
        assert_eq!(mend_table(&io).unwrap(), None, "{at}");
        assert!(
            io.take_log().iter().all(|op| matches!(op, Op::Forget(..))),
            "{at}: it is written though it is whole"
        );
    }
}

#[test]
fn what_is_in_memory_is_not_taken_for_what_is_on_the_medium() {
    let image = &images()[1];
    let mut io = Recorder::new(Machine::new(image, None), image);
    // This byte of the medium is another one whenever it is looked at.
    io.rot = Some(512 + 16);
    let error = mend_table(&io).unwrap_err();
    assert!(error.to_string().contains("damaged again right after"), "{error}");
}

#[test]
fn disk_that_fails_on_the_way_still_has_a_table() {
    let image = &images()[1];
    let place = |machine: &Machine| {
        oracle::table(machine)
            .unwrap()
            .partitions()
            .cloned()
            .collect::<Vec<_>>()
    };
    let whole = place(&Machine::new(image, None));
    for at in [512 + 16, -512 + 16] {
        for effect in [Effect::ReadDisk, Effect::WriteDisk, Effect::FlushDisk] {
            let mut failed = 0;
            for number in 0.. {
                let mut io = Recorder::new(rotten(image, at), image);
                io.fault = Some(Fault {
                    effect,
                    at: number,
                    errno: 5,
                    lasting: true,
                    short: true,
                });
                let mended = mend_table(&io);
                if !io.fault_was_met() {
                    assert!(mended.is_ok());
                    break;
                }
                let error = mended.unwrap_err();
                assert_eq!(error.problem().code, "disk", "{error}");
                assert_eq!(place(&io.machine()), whole);
                failed += 1;
            }
            assert!(failed > 0, "{effect:?}");
        }
    }
}
