//! The ports that must not be open to the world.

use std::fmt;

/// Ports and ranges of ports.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ports(Vec<(u16, u16)>);

/// Why a list of ports cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum PortsError {
    #[error("`{0}` is neither a port nor a range of ports; write for example 22,3389,5432-5439")]
    NotAPort(String),
    #[error("the range `{0}` ends before it begins")]
    Backwards(String),
    #[error("the list is not text")]
    NotText,
}

/// Remote shells, remote desktops, databases and admin ports: those of AWS's controls EC2.13, EC2.14 and EC2.19, and
/// what else is commonly attacked.
const DEFAULT: &[(u16, u16)] = &[
    (20, 21),       // FTP
    (22, 22),       // SSH
    (23, 23),       // Telnet
    (25, 25),       // SMTP
    (110, 110),     // POP3
    (135, 135),     // Windows RPC
    (139, 139),     // NetBIOS
    (143, 143),     // IMAP
    (445, 445),     // SMB
    (1433, 1434),   // SQL Server
    (1521, 1521),   // Oracle
    (2375, 2376),   // Docker
    (2379, 2380),   // etcd
    (3000, 3000),   // development servers
    (3306, 3306),   // MySQL
    (3389, 3389),   // RDP
    (4333, 4333),   // mSQL
    (5000, 5000),   // development servers
    (5432, 5432),   // PostgreSQL
    (5500, 5500),   // fcp-addr-srvr1, VNC
    (5601, 5601),   // Kibana
    (5900, 5900),   // VNC
    (5985, 5986),   // WinRM
    (6379, 6379),   // Redis
    (8080, 8080),   // proxies, admin pages
    (8088, 8088),   // HTTP alternative, Hadoop
    (8888, 8888),   // HTTP alternative, notebooks
    (9092, 9092),   // Kafka
    (9200, 9200),   // Elasticsearch
    (9300, 9300),   // Elasticsearch
    (10250, 10250), // kubelet
    (11211, 11211), // memcached
    (27017, 27019), // MongoDB
];

impl Ports {
    /// Reads a list such as `22,3389,5432-5439`. An empty one means that nothing is configured: the default.
    pub(super) fn parse(text: &str) -> Result<Self, PortsError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(|part| range(part.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of these ports is from `from` to `to`.
    pub(super) fn touch(&self, from: i32, to: i32) -> bool {
        self.0.iter().any(|&(first, last)| from <= i32::from(last) && i32::from(first) <= to)
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self(DEFAULT.to_vec())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

fn range(text: &str) -> Result<(u16, u16), PortsError> {
    let port = |digits: &str| {
        let digits = digits.trim();
        // `parse` alone would take "+22" too.
        let port = digits.parse().ok().filter(|_| digits.bytes().all(|c| c.is_ascii_digit()));
        port.ok_or_else(|| PortsError::NotAPort(text.to_owned()))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first <= last { Ok((first, last)) } else { Err(PortsError::Backwards(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_ports_and_ranges() {
        assert_eq!(Ports::parse("22"), Ok(Ports(vec![(22, 22)])));
        assert_eq!(Ports::parse(" 22, 5432 - 5439 "), Ok(Ports(vec![(22, 22), (5432, 5439)])));
        assert_eq!(Ports::parse(" "), Ok(Ports::default()));
    }

    #[test]
    fn a_malformed_list_is_an_error_and_never_the_default() {
        for wrong in
            ["22,", ",", "ssh", "22;3389", "22-", "-22", "65536", "22-3389-4000", "+22", "0x16"]
        {
            assert!(matches!(Ports::parse(wrong), Err(PortsError::NotAPort(_))), "{wrong:?}");
        }
        assert_eq!(Ports::parse("22,90-80"), Err(PortsError::Backwards("90-80".to_owned())));
    }

    #[test]
    fn the_default_has_the_ports_that_awss_controls_name() {
        let ports = Ports::default();
        for port in [
            20, 21, 22, 23, 25, 110, 135, 143, 445, 1433, 1434, 3000, 3306, 3389, 4333, 5000, 5432,
            5500, 5601, 8080, 8088, 8888, 9200, 9300, 1521, 6379, 9092, 11211, 27017, 27018,
        ] {
            assert!(ports.touch(port, port), "{port}");
        }
        for port in [53, 80, 123, 443, 8443] {
            assert!(!ports.touch(port, port), "{port}");
        }
    }

    proptest! {
        #[test]
        fn a_list_reads_back_as_written(ranges in prop::collection::vec((any::<u16>(), any::<u16>()), 1..9)) {
            let ports = Ports(ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect());
            prop_assert_eq!(Ports::parse(&ports.to_string()), Ok(ports));
        }

        #[test]
        fn a_wider_range_touches_what_a_narrower_does(from in 0..=65535, length in 0..=1000, more in 0..=1000) {
            let (ports, to) = (Ports::default(), from + length);
            let is_touched_wider = ports.touch(from - more, to) && ports.touch(from, to + more);
            prop_assert!(is_touched_wider || !ports.touch(from, to));
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}|[0-9,-]{0,20}") {
            let _ = Ports::parse(&text);
        }
    }
}
