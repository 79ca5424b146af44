//! What the operating system says of the process. Where it says nothing, there is nothing: only Linux is asked.

use std::fs;

use super::text::Page;

/// Files of Linux, read anew for each page: a few microseconds each, but for the list of descriptors, which costs with their number.
pub(super) fn write(page: &mut Page) {
    if let Some(kib) = field(&read("/proc/self/status"), "VmRSS:", 0) {
        page.gauge("process_resident_memory_bytes", "Memory in use.", kib << 10);
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        // Less the one that reads the list.
        let open = (descriptors.count() as u64).saturating_sub(1);
        page.gauge("process_open_fds", "Open file descriptors.", open);
    }
    if let Some(most) = field(&read("/proc/self/limits"), "Max open files", 0) {
        page.gauge("process_max_fds", "The most file descriptors that may be open.", most);
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A number in the line that begins with a name.
fn field(text: &str, name: &str, index: usize) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_linux_files_are_found() {
        let status = "Name:\tx\nVmRSS:\t    5128 kB\n";
        assert_eq!(field(status, "VmRSS:", 0), Some(5_128));
        let limits =
            "Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 4096     files\n";
        assert_eq!(field(limits, "Max open files", 0), Some(1_024));
        assert_eq!(field("", "VmRSS:", 0), None);
        assert_eq!(field("Max open files  unlimited", "Max open files", 0), None);
    }
}
