//! What a client that measures learns of a machine that failed.

use std::time::Duration;

use virtmark_driver_endpoint::{Endpoint, EndpointOptions, Mapping};
use virtmark_hypervisor::{Capability, Error, Hypervisor, MachineSpec};
use virtmark_model::FailureClass;
use virtmark_sandbox::Options;

use crate::fake::Fault;
use crate::house::House;

/// The error of a create through the endpoint driver, at a service whose machines start so.
fn create(limits: impl FnOnce(&mut Options), fault: Option<Fault>) -> Error {
    let house = House::with(limits, |_| {});
    *house.behaviour.fault.lock().unwrap() = fault;
    let url = format!("http://{}", house.address);
    let endpoint = Endpoint::new(EndpointOptions::new(url, Mapping::virtmark().unwrap())).unwrap();
    let spec = MachineSpec {
        name: "m1".into(),
        vcpus: 0,
        memory_bytes: 0,
        image: None,
        disks: Vec::new(),
        networks: Vec::new(),
        kernel_arguments: Vec::new(),
        snapshots: false,
        confined: true,
        ready_timeout: Duration::from_secs(10),
    };
    endpoint.create(&spec).err().unwrap()
}

#[test]
fn a_failure_keeps_its_class_on_the_way() {
    let faults: [(FailureClass, Fault); 6] = [
        (FailureClass::GuestPanic, |machine| Error::GuestPanic { machine, console: "end".into() }),
        (FailureClass::GuestSilent, |machine| Error::GuestSilent {
            machine,
            timeout: Duration::from_secs(1),
            console: String::new(),
        }),
        (FailureClass::KernelInvalid, |_| Error::KernelInvalid {
            path: "/kernel".into(),
            reason: "it is none".into(),
        }),
        (FailureClass::AcceleratorUnavailable, |machine| {
            let (accelerator, reason) = ("kvm".into(), "it is not there".into());
            Error::AcceleratorUnavailable { machine, accelerator, reason }
        }),
        (FailureClass::Unsupported, |_| {
            let (hypervisor, reason) = ("fake".into(), "it has none".into());
            Error::Unsupported { hypervisor, capability: Capability::Disks, reason }
        }),
        (FailureClass::DiskFull, |_| Error::Io {
            action: "write".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        }),
    ];
    for (class, fault) in faults {
        let error = create(|_| {}, Some(fault));
        assert_eq!((error.class(), error.is_passing()), (class, false), "{error}");
        assert!(error.to_string().starts_with("cannot create m1 (POST http://"), "{error}");
    }
}

#[test]
fn a_refusal_for_want_of_room_is_one_of_the_moment() {
    let short: Fault =
        |machine| Error::OutOfMemory { machine, wanted_bytes: 1, reason: "none is left".into() };
    let error = create(|_| {}, Some(short));
    assert_eq!((error.class(), error.is_passing()), (FailureClass::OutOfMemory, true), "{error}");
    let error = create(|options| options.max_sandboxes = 0, None);
    assert_eq!(error.class(), FailureClass::Other, "{error}");
    assert!(error.to_string().contains("limit_reached"), "{error}");
}
