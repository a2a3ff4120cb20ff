use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<HostMap, MapError> {
    HostMap::from_bytes(text.as_bytes(), "hosts")
}

fn machine(name: &str, address: &str, aliases: &[&str]) -> Machine {
    let aliases = aliases.iter().map(|alias| (*alias).into()).collect();
    Machine { name: name.into(), address: Address::parse(address).unwrap(), aliases }
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn hosts_are_read_as_hosts_5_has_them() {
    let text = "\u{feff}# BEGIN 4 available VMs\r\n192.0.2.7\t\tvm-0\r\n\n  2001:db8::7   vm-1  db backup # two aliases\n\
                [fe80::1%eth0]:2222 vm_2\nVM.example.:2200 3rd\n#192.0.2.9 none\n# END";
    let map = read(text).unwrap();
    let expected = [
        machine("vm-0", "192.0.2.7", &[]),
        machine("vm-1", "2001:db8::7", &["db", "backup"]),
        machine("vm_2", "[fe80::1%eth0]:2222", &[]),
        machine("3rd", "vm.example.:2200", &[]),
    ];
    assert_eq!(map.machines(), expected);
    assert_eq!(map.machines()[1].address.port, 22);
    assert_eq!(read(&map.to_string()).unwrap(), map);
    assert_eq!(
        map.to_string(),
        "# BEGIN 4 machines\n192.0.2.7\tvm-0\n2001:db8::7\tvm-1\tdb\tbackup\n[fe80::1%eth0]:2222\tvm_2\n\
         vm.example.:2200\t3rd\n# END 4 machines\n"
    );
}

#[test]
fn an_address_with_a_port_is_no_json() {
    assert_eq!(read("[::1]:2222 vm").unwrap().machines(), [machine("vm", "[::1]:2222", &[])]);
}

#[test]
fn json_is_read_in_both_forms() {
    let object = r#"{"b": "192.0.2.8", "a": {"address": "2001:db8::7", "port": 2222, "aliases": ["db"]}}"#;
    let array = r#" [{"name": "b", "address": "192.0.2.8:22"},
                      {"name": "a", "address": "2001:db8::7", "port": 2222, "aliases": ["db"]}]"#;
    let expected = [machine("b", "192.0.2.8", &[]), machine("a", "[2001:db8::7]:2222", &["db"])];
    assert_eq!(read(object).unwrap().machines(), expected);
    assert_eq!(read(array).unwrap().machines(), expected);
    let written = serde_json::to_string(&read(object).unwrap()).unwrap();
    assert_eq!(
        written,
        r#"[{"name":"b","address":"192.0.2.8","port":22},{"name":"a","address":"2001:db8::7","port":2222,"aliases":["db"]}]"#
    );
    assert_eq!(read(&written).unwrap().machines(), expected);
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, expected) in [
        ("", "hosts names no machine; write a line"),
        ("# nothing\n\n", "names no machine"),
        ("{}", "names no machine"),
        (" [ ]", "names no machine"),
        ("192.0.2.7", "hosts: line 1: 192.0.2.7 has no name; write `192.0.2.7 NAME`"),
        ("192.0.2.7 a\n192.0.2.8 a\n", "line 2: a is the name of a machine already (line 1)"),
        ("192.0.2.7 a b\n192.0.2.8 b\n", "line 2: b is the name of a machine already (line 1)"),
        ("192.0.2.7 a a\n", "line 1: a is the name"),
        (
            "192.0.2.7 a\n\n192.0.2.7:22 b\n",
            "line 3: 192.0.2.7 is the address of a already (line 1); make b an alias",
        ),
        ("vm 192.0.2.256\nx", "line 2: x has no name"),
        ("192.0.2.256 vm", "line 1: \"192.0.2.256\" is no address"),
        ("10.1 vm", "is no address"),
        ("-x vm", "is no address"),
        ("a:b:c vm", "is no address"),
        ("[::1 vm", "is no address"),
        ("[::1]22 vm", "is no address"),
        ("::1%eth/0 vm", "is no address"),
        ("a:0 vm", "\"0\" is no port"),
        ("a:+22 vm", "\"+22\" is no port"),
        ("a:65536 vm", "\"65536\" is no port"),
        ("192.0.2.7 ../x", "line 1: \"../x\" is no name of a machine"),
        ("192.0.2.7 .", "no name of a machine"),
        ("192.0.2.7 vm-\u{e9}", "no name of a machine"),
        (
            "{\"a\": \"192.0.2.7\", \"a\": \"192.0.2.8\"}",
            "machine 2: a is the name of a machine already (machine 1)",
        ),
        ("{\"a\": 7}", "line 1: this is no map of machines: an address, or an object"),
        ("{\"a\": \"192.0.2.7\",\n \"b\"", "line 2: this is no map"),
        ("[{\"name\": \"a\"}]", "missing field `address`"),
        ("[{\"name\": \"a\", \"address\": \"b\", \"user\": \"c\"}]", "unknown field `user`"),
        ("[{\"a\\nb\\u001b[2J\": 1}]", "unknown field `ab[2J`"),
        (
            "{\"a\": {\"address\": \"192.0.2.7:22\", \"port\": 22}}",
            "machine 1: a: \"192.0.2.7:22\" is no address",
        ),
        ("{\"a\": {\"address\": \"b\", \"port\": 0}}", "0 is no port"),
        ("{\"a/b\": \"192.0.2.7\"}", "no name of a machine"),
    ] {
        let told = refusal(text);
        assert!(told.contains(expected), "{text:?}: {told}");
        assert!(!told.contains('\n'), "{told}");
    }
    let error = HostMap::from_bytes(b"192.0.2.7 a\n192.0.2.8 \xff\n", "-").unwrap_err();
    assert!(error.to_string().contains("line 2: the line is not UTF-8"), "{error}");
    let endless = HostMap::from_reader(std::io::repeat(b'#'), "-").unwrap_err();
    assert!(endless.to_string().contains("more than 16 MiB"), "{endless}");
    let none = HostMap::from_file(Path::new("/nonexistent/map")).unwrap_err();
    assert!(none.to_string().contains("/nonexistent/map"), "{none}");
}

#[test]
fn a_map_is_made_of_machines() {
    let refused = |machines| HostMap::new(machines, "those").unwrap_err().to_string();
    assert!(refused(vec![]).starts_with("those names no machine"));
    let twice = vec![machine("a", "192.0.2.7", &[]), machine("a", "192.0.2.8", &[])];
    assert!(refused(twice).starts_with("those: machine 2: a is the name of a machine already (machine 1)"));
    let shouting = vec![machine("a", "192.0.2.7", &["b!"])];
    assert!(refused(shouting).starts_with("those: machine 1: \"b!\" is no name of a machine"));
    let map = HostMap::new(vec![machine("a", "192.0.2.7", &[])], "those").unwrap();
    assert_eq!(map.to_string(), "# BEGIN 1 machines\n192.0.2.7\ta\n# END 1 machines\n");
}

proptest! {
    #[test]
    fn maps_read_back_in_both_forms(
        hosts in prop::collection::btree_set("[a-z0-9]{1,8}(\\.[a-z]{1,5})?|[0-9a-f]{1,4}::[0-9a-f]{1,4}", 1..20),
        ports in prop::collection::vec(1_u16.., 20),
    ) {
        let usable = hosts.into_iter().filter_map(|host| Host::parse(&host));
        let machines = usable.zip(ports).enumerate().map(|(at, (host, port))| Machine {
            name: format!("vm-{at}"), address: Address { host, port }, aliases: vec![format!("alias_{at}")],
        });
        let machines: Vec<Machine> = machines.collect();
        prop_assume!(!machines.is_empty());
        // Two spellings can be one address: 0::1 and 00::1.
        if let Ok(map) = HostMap::new(machines, "those") {
            prop_assert_eq!(&read(&map.to_string()).unwrap(), &map);
            prop_assert_eq!(&read(&serde_json::to_string(&map).unwrap()).unwrap(), &map);
        }
    }
}
