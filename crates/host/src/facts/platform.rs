//! What the host runs in, and the settings of it that a figure depends on.

use super::cpu::Cpu;
use crate::memory::meminfo_number;
use crate::source::Source;

/// The hypervisor that the host runs in, by the name it gives itself; `None` on bare metal and where it cannot be
/// told. On x86 the `hypervisor` flag says that there is one; elsewhere only names do.
pub(crate) fn hypervisor(source: &Source, cpu: &Cpu) -> Option<String> {
    let product = dmi_product(source);
    let name = xen(source).or_else(|| device_tree(source));
    let name = match name {
        None if cpu.has("hypervisor") => Some(cpu_signature(source).unwrap_or_else(|| "unidentified".into())),
        None if cpu.is_x86() => None,
        None => return product.filter(|product| is_virtual(product)),
        name => name,
    }?;
    Some(match product {
        Some(product) => format!("{name} ({product})"),
        None => name,
    })
}

fn xen(source: &Source) -> Option<String> {
    source.text("sys/hypervisor/type")
}

/// As KVM and Xen announce themselves to ARM guests: `linux,kvm`, `xen,xen`.
fn device_tree(source: &Source) -> Option<String> {
    let compatible = source.text("proc/device-tree/hypervisor/compatible")?;
    compatible.split('\0').next().map(str::to_owned)
}

/// Maker and product as the firmware tells them.
fn dmi_product(source: &Source) -> Option<String> {
    let vendor = source.text("sys/class/dmi/id/sys_vendor");
    let product = source.text("sys/class/dmi/id/product_name");
    let words: Vec<_> = vendor.into_iter().chain(product).collect();
    if words.is_empty() { None } else { Some(words.join(" ")) }
}

/// Makers whose machines are virtual, for architectures whose CPU does not say so. EC2 names its metal `….metal`.
fn is_virtual(product: &str) -> bool {
    let makers =
        ["QEMU", "Amazon EC2", "Google", "Microsoft Corporation Virtual Machine", "VMware", "Parallels"];
    makers.iter().any(|maker| product.starts_with(maker)) && !product.contains("metal")
}

/// The 12 letters at CPUID leaf 0x4000_0000, where hypervisors sign; `KVMKVMKVM` is read as `KVM`.
#[cfg(target_arch = "x86_64")]
fn cpu_signature(source: &Source) -> Option<String> {
    if !source.is_this_host() {
        return None;
    }
    let leaf = std::arch::x86_64::__cpuid(0x4000_0000);
    let bytes: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx].iter().flat_map(|word| word.to_le_bytes()).collect();
    signature_name(&bytes)
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_signature(_source: &Source) -> Option<String> {
    None
}

#[cfg(any(target_arch = "x86_64", test))]
fn signature_name(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes).trim_matches(['\0', ' ']).to_owned();
    let known = match text.as_str() {
        "" => return None,
        "KVMKVMKVM" => "KVM",
        "Microsoft Hv" => "Hyper-V",
        "TCGTCGTCGTCG" => virtmark_model::EMULATED_HOST,
        "VMwareVMware" => "VMware",
        "XenVMMXenVMM" => "Xen",
        "bhyve bhyve" => "bhyve",
        _ => return Some(text),
    };
    Some(known.to_owned())
}

pub(crate) fn governor(source: &Source) -> Option<String> {
    source.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
}

pub(super) fn huge_pages_total(source: &Source) -> Option<u64> {
    meminfo_number(source, "HugePages_Total")
}

/// Whether more than one thread of a core is in use.
pub(crate) fn smt(source: &Source) -> Option<bool> {
    source.number("sys/devices/system/cpu/smt/active").map(|active| active != 0)
}

pub(super) fn transparent_huge_pages(source: &Source) -> Option<String> {
    bracketed(&source.text("sys/kernel/mm/transparent_hugepage/enabled")?)
}

/// `PRETTY_NAME` of os-release(5), without its quotes.
pub(super) fn os_name(source: &Source) -> Option<String> {
    let text = source.text("etc/os-release").or_else(|| source.text("usr/lib/os-release"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?.trim();
    let unquoted = ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
    Some(unquoted.unwrap_or(value).to_owned())
}

/// The choice in force of a setting that lists them all: `always [madvise] never`.
pub(crate) fn bracketed(setting: &str) -> Option<String> {
    let (_, rest) = setting.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_read_as_names() {
        assert_eq!(signature_name(b"KVMKVMKVM\0\0\0").as_deref(), Some("KVM"));
        assert_eq!(signature_name(b"Microsoft Hv").as_deref(), Some("Hyper-V"));
        assert_eq!(signature_name(b"SomethingNew").as_deref(), Some("SomethingNew"));
        assert_eq!(signature_name(&[0; 12]), None);
    }

    #[test]
    fn the_choice_in_force_is_in_brackets() {
        assert_eq!(bracketed("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(bracketed("none"), None);
    }
}
