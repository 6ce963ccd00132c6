//! Disks of every kind that a host may be booted from, and disks beside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use twinhull_layout::table::{Partition, SlotContent};
use twinhull_layout::{Slot, Table, partition};
use uuid::Uuid;

use crate::host::{DiskName, Host};
use crate::recorder::Machine;
use crate::server::Server;
use crate::world::{ARCH, Image, Signed, images, release};

const MIB: u64 = 1024 * 1024;

/// A repository that offers 1.1.0 to hosts on 1.0.0.
struct Offer {
    images: [Image; 3],
    repository: Signed,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Offer {
    fn new() -> Self {
        let images = images();
        let folder = tempfile::tempdir().unwrap();
        let repository = Signed::new(folder.path());
        let (document, files) = release(&images[2], Some(&images[1]));
        repository.publish(&document, &files);
        let server = Server::new(&repository.folder);
        Self {
            images,
            repository,
            server,
            _folder: folder,
        }
    }

    /// A host on 1.0.0 whose disk is of that kind and still to be made.
    fn host(&self, name: DiskName) -> (Host, File) {
        let running = &self.images[1];
        let entries = BTreeMap::from([(running.entry(), running.kernel.clone())]);
        let host = Host::with_disk(name, running, &entries, &self.repository.root());
        host.configure(&self.server.configuration("download-only"));
        let device = host.at("dev").join(name.disk);
        let disk = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(device)
            .unwrap();
        (host, disk)
    }

    /// `update` puts 1.1.0 into slot B, to the last bit, and touches nothing of slot A.
    #[track_caller]
    fn updates(&self, host: &Host, disk: &File, sector: u64) {
        let (exit, outcome) = host.json(&["update"]);
        assert_eq!((exit, &outcome["outcome"]), (0, &"staged".into()), "{outcome:#}");
        let table = Table::read(disk, sector).unwrap();
        for (slot, image) in [(Slot::A, &self.images[1]), (Slot::B, &self.images[2])] {
            let place = table.slot(slot, ARCH).unwrap();
            assert_eq!(place.content(), SlotContent::Release(image.version.clone()));
            let part = |start: u64, length: usize| {
                let mut bytes = vec![0; length];
                disk.read_exact_at(&mut bytes, start).unwrap();
                bytes
            };
            let (mut root, mut tree) = (
                &part(place.root.start, image.root.len())[..],
                &part(place.verity.start, image.tree.len())[..],
            );
            twinhull_verity::verify(&mut root, &mut tree, &image.hash).unwrap();
        }
        let entry = host.at("efi/EFI/Linux").join(self.images[2].fresh_entry());
        assert!(fs::read(entry).unwrap() == self.images[2].kernel);
    }
}

/// A sparse disk with slots of `root` bytes, and 1.0.0 in slot A.
fn sparse(disk: &File, sector: u64, root: u64, image: &Image) {
    let sizes = [64 * MIB, root, 64 * MIB, MIB, root, 64 * MIB, MIB, 64 * MIB];
    let kinds = [
        partition::ESP,
        partition::root(ARCH),
        partition::root_verity(ARCH),
        partition::root_verity_signature(ARCH),
        partition::root(ARCH),
        partition::root_verity(ARCH),
        partition::root_verity_signature(ARCH),
        partition::STATE,
    ];
    let mut start = MIB;
    let mut partitions = Vec::new();
    for ((number, kind), size) in (1..).zip(kinds).zip(sizes) {
        partitions.push(Partition {
            number,
            kind,
            id: Uuid::from_u128(u128::from(number)),
            start,
            size,
            attributes: 0,
            label: partition::EMPTY_LABEL.to_owned(),
        });
        start += size;
    }
    let size = start + MIB;
    disk.set_len(size).unwrap();
    let mut table = Table::create(size, sector, Uuid::from_u128(77), partitions).unwrap();
    table.assign(Slot::A, &image.version, &image.hash);
    table.write(disk).unwrap();
    let place = table.slot(Slot::A, ARCH).unwrap();
    disk.write_all_at(&image.root, place.root.start).unwrap();
    disk.write_all_at(&image.tree, place.verity.start).unwrap();
}

#[test]
fn every_bus_sector_and_size_is_updated() {
    let offer = Offer::new();
    // Slots of 5 GiB: the other one begins beyond 4 GiB, and beyond 2^32 - 1 in bytes.
    for (disk, between, sector, root) in [
        ("vda", "", 512, 64 * MIB),
        ("sda", "", 512, 5 * 1024 * MIB),
        ("nvme0n1", "p", 4096, 5 * 1024 * MIB),
        ("mmcblk0", "p", 512, 3 * 1024 * MIB),
    ] {
        let (host, device) = offer.host(DiskName { disk, between, sector });
        sparse(&device, sector, root, &offer.images[1]);
        offer.updates(&host, &device, sector);
    }
}

#[test]
fn disk_that_has_grown_is_updated_and_gets_its_second_table_back() {
    let offer = Offer::new();
    for sector in [512, 4096] {
        let (host, device) = offer.host(DiskName {
            sector,
            ..DiskName::VDA
        });
        sparse(&device, sector, 64 * MIB, &offer.images[1]);
        let grown = device.metadata().unwrap().len() + 100 * MIB;
        device.set_len(grown).unwrap();
        offer.updates(&host, &device, sector);
        // Whoever loses the first copy looks at the end of the disk for the second.
        device.write_all_at(&vec![0; 4096], sector).unwrap();
        let table = Table::read(&device, sector).unwrap();
        let place = table.slot(Slot::B, ARCH).unwrap();
        assert_eq!(place.content(), SlotContent::Release(offer.images[2].version.clone()));
    }
}

#[test]
fn copy_of_the_disk_beside_it_is_never_touched() {
    let offer = Offer::new();
    let (host, device) = offer.host(DiskName::VDA);
    sparse(&device, 512, 64 * MIB, &offer.images[1]);
    let copy = DiskName {
        disk: "sda",
        ..DiskName::VDA
    };
    host.add_disk(copy);
    fs::copy(host.at("dev/vda"), host.at("dev/sda")).unwrap();

    // Somebody has mounted its EFI system partition in place of ours: a kernel there would never be booted.
    host.mount_esp_from(copy);
    let before = host.at("dev/vda").metadata().unwrap().modified().unwrap();
    let (exit, outcome) = host.json(&["update"]);
    assert_eq!((exit, &outcome["problem"]["code"]), (1, &"esp".into()), "{outcome:#}");
    let text = outcome["problem"]["text"].as_str().unwrap();
    assert!(text.contains("is on sda1, and this host was booted from"), "{text}");
    assert_eq!(host.at("dev/vda").metadata().unwrap().modified().unwrap(), before);

    host.mount_esp_from(DiskName::VDA);
    let copied = fs::read(host.at("dev/sda")).unwrap();
    offer.updates(&host, &device, 512);
    assert!(fs::read(host.at("dev/sda")).unwrap() == copied, "not one byte");
}

#[test]
fn disk_that_another_tool_has_relabelled_is_left_alone() {
    let offer = Offer::new();
    let host = Host::new(
        &offer.images[1],
        &Machine::new(&offer.images[0], None),
        &offer.repository.root(),
    );
    host.configure(&offer.server.configuration("download-only"));
    let before = host.machine();
    let (exit, outcome) = host.json(&["update"]);
    assert_eq!(
        (exit, &outcome["problem"]["code"]),
        (1, &"partition-table".into()),
        "{outcome:#}"
    );
    assert_eq!(host.machine(), before);
}
