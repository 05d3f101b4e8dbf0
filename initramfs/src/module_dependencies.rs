//! In which order kernel modules must be loaded: `modules.dep` and `modules.softdep` (pure).

use std::collections::HashMap;

/// Most modules that one device may pull in; a deeper chain is a broken `modules.dep`.
const CHAIN_MAX: usize = 64;

/// A module's name as the kernel knows it: `-` and `_` are the same.
pub(crate) fn normal_name(name: &str) -> String {
    name.replace('-', "_")
}

/// Files, hard dependencies and wished-for predecessors of all modules of the image.
#[derive(Debug, Default)]
pub(crate) struct DependencyTable {
    /// Module name -> (its file, its dependencies' files as `modules.dep` lists them).
    modules: HashMap<String, (String, Vec<String>)>,
    /// Module name -> modules that it asks to be there before it (`softdep NAME pre: ...`).
    wishes: HashMap<String, Vec<String>>,
}

impl DependencyTable {
    /// Parses `modules.dep` and `modules.softdep` as depmod(8) writes them.
    pub(crate) fn parse(dependencies: &str, soft_dependencies: &str) -> DependencyTable {
        let mut table = DependencyTable::default();
        for line in dependencies.lines() {
            let Some((file, needed)) = line.split_once(':') else {
                continue;
            };
            let Some(name) = module_name(file) else {
                continue;
            };
            let needed = needed.split_ascii_whitespace().map(str::to_owned).collect();
            table.modules.insert(name, (file.to_owned(), needed));
        }
        for line in soft_dependencies.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some("softdep"), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            let before = words
                .skip_while(|&word| word != "pre:")
                .skip(1)
                .take_while(|&word| word != "post:");
            table
                .wishes
                .entry(normal_name(name))
                .or_default()
                .extend(before.map(normal_name));
        }
        table
    }

    /// The files to load, in this order, to have module `name`; `None` if the image has no such module.
    pub(crate) fn load_order(&self, name: &str) -> Option<Vec<&str>> {
        let name = normal_name(name);
        let (file, needed) = self.modules.get(&name)?;
        let mut order: Vec<&str> = Vec::new();
        for wish in self.wishes.get(&name).into_iter().flatten() {
            if let Some((wished_file, wished_needs)) = self.modules.get(wish) {
                append(&mut order, wished_needs, wished_file);
            }
        }
        append(&mut order, needed, file);
        order.truncate(CHAIN_MAX);
        Some(order)
    }
}

/// depmod lists what is needed first last.
fn append<'a>(order: &mut Vec<&'a str>, needed: &'a [String], file: &'a str) {
    for file in needed.iter().rev().map(String::as_str).chain([file]) {
        if !order.contains(&file) {
            order.push(file);
        }
    }
}

/// `kernel/drivers/net/virtio_net.ko` is module `virtio_net`.
fn module_name(file: &str) -> Option<String> {
    let base = file.rsplit('/').next()?;
    Some(normal_name(base.strip_suffix(".ko")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "kernel/net/core/failover.ko:\n\
        kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko\n\
        kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko\n\
        kernel/drivers/net/phy/libphy.ko:\n\
        kernel/drivers/net/phy/realtek.ko: kernel/drivers/net/phy/libphy.ko\n\
        kernel/drivers/net/r8169.ko: kernel/drivers/net/phy/libphy.ko\n\
        kernel/drivers/usb/host/xhci-pci.ko:\n\
        garbage\n";

    fn table() -> DependencyTable {
        DependencyTable::parse(
            DEPENDENCIES,
            "# comment\nsoftdep r8169 pre: realtek absent post: x\n",
        )
    }

    #[test]
    fn what_is_needed_is_loaded_first() {
        assert_eq!(
            table().load_order("virtio_net"),
            Some(vec![
                "kernel/net/core/failover.ko",
                "kernel/drivers/net/net_failover.ko",
                "kernel/drivers/net/virtio_net.ko",
            ])
        );
    }

    #[test]
    fn a_wished_for_module_comes_before_and_an_absent_one_is_no_obstacle() {
        assert_eq!(
            table().load_order("r8169"),
            Some(vec![
                "kernel/drivers/net/phy/libphy.ko",
                "kernel/drivers/net/phy/realtek.ko",
                "kernel/drivers/net/r8169.ko",
            ])
        );
    }

    #[test]
    fn dash_and_underscore_are_the_same() {
        assert_eq!(
            table().load_order("xhci_pci"),
            table().load_order("xhci-pci")
        );
        assert!(table().load_order("xhci_pci").is_some());
    }

    #[test]
    fn an_absent_module_is_told() {
        assert_eq!(table().load_order("nvidia"), None);
    }
}
