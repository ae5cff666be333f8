//! The client behind a request, seen through trusted proxies: what limits by address count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use hyper::header::HeaderMap;

use crate::names::Malformed;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
/// The network 64:ff9b::/96.
const TRANSLATED: u128 = 0x0064_ff9b << 96;

/// One household or machine as limits count it: an IPv4 address, or an IPv6 network of 64 bits, which
/// a provider hands out whole.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct ClientAddress(IpAddr);

/// An address or a network of addresses, as `--trusted-proxy` takes them. An IPv4 address and the
/// IPv6 address that it is mapped to are the same.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut options = chatroom::Options::default();
/// options.trusted_proxy = vec!["172.16.0.0/12".parse()?, "::1".parse()?];
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: u128,
    /// How many of the address's first bits count.
    bits: u32,
}

impl ClientAddress {
    /// The address, or the first one of the network.
    pub(crate) fn ip(self) -> IpAddr {
        self.0
    }
}

impl FromStr for Network {
    type Err = Malformed;

    /// Reads an address, or a network with the number of its bits: `172.16.0.0/12`, `fd00::/8`.
    fn from_str(text: &str) -> Result<Network, Malformed> {
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let network = Network::from(address.parse::<IpAddr>().map_err(|_| Malformed)?);
        if address.len() == text.len() {
            return Ok(network);
        }
        // An IPv4 address is the end of an IPv6 address.
        let before = if address.contains(':') { 0 } else { 96 };
        let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: Option<u32> = bits.parse().ok().filter(|_| is_number);
        let bits = bits.and_then(|bits| bits.checked_add(before));
        let bits = bits.filter(|&bits| bits <= 128).ok_or(Malformed)?;
        Ok(Network { bits, ..network })
    }
}

impl Network {
    pub(crate) fn is_ipv4(self) -> bool {
        self.bits >= 96 && self.address >> 32 == 0xffff
    }

    /// Whether the two have an address in common.
    pub(crate) fn overlaps(self, other: impl Into<Network>) -> bool {
        let other = other.into();
        let bits = self.bits.min(other.bits);
        let differing = self.address ^ other.address;
        differing
            .checked_shr(128 - bits)
            .is_none_or(|rest| rest == 0)
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Network {
            address: address.to_bits(),
            bits: 128,
        }
    }
}

impl From<ClientAddress> for Network {
    fn from(ClientAddress(address): ClientAddress) -> Network {
        Network {
            bits: if address.is_ipv4() { 128 } else { 64 },
            ..address.into()
        }
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> ClientAddress {
        ClientAddress(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            // IPv4 addresses as a translator shows them to this server (RFC 6052): all in one network.
            IpAddr::V6(address) if address.to_bits() >> 32 == TRANSLATED >> 32 => {
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() as u32))
            }
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
                address.to_bits() & !u128::from(u64::MAX),
            )),
        })
    }
}

impl std::fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// Follows the forwarded headers from the peer backwards, as long as each hop is trusted. Says also
/// whether the client came over TLS.
pub(crate) fn client_origin(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
) -> (ClientAddress, bool) {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.overlaps(address));
    if !is_trusted(peer) {
        return (peer.into(), false);
    }
    let mut client = peer;
    let hops = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = hops.flat_map(|header| header.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.map_while(hop_address) {
        client = hop;
        if !is_trusted(client) {
            break;
        }
    }
    // The peer itself, which is trusted, wrote the last entry.
    let proto = headers
        .get_all(FORWARDED_PROTO)
        .iter()
        .next_back()
        .and_then(|proto| proto.to_str().ok());
    let https = proto
        .and_then(|proto| proto.rsplit(',').next())
        .is_some_and(|last| last.trim().eq_ignore_ascii_case("https"));
    (client.into(), https)
}

/// An address with or without a port, an IPv6 one with or without brackets.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next());
    let address = match hop.parse::<SocketAddr>() {
        Ok(address) => address.ip(),
        Err(_) => bare.unwrap_or(hop).parse().ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(
                FORWARDED_FOR,
                HeaderValue::from_str(value).expect("a header"),
            );
        }
        let trusted = ["10.0.0.1", "10.0.0.2", "172.16.0.0/12", "fd00::/8"];
        let trusted = trusted.map(|text| text.parse::<Network>().expect("a network"));
        client_origin(ip(peer), &headers, &trusted).0.to_string()
    }

    #[test]
    fn a_network_ends_where_its_bits_say() {
        for peer in [
            "172.16.0.0",
            "172.31.255.255",
            "::ffff:172.20.0.1",
            "fdff::1",
        ] {
            assert_eq!(seen(peer, &["203.0.113.9"]), "203.0.113.9", "{peer}");
        }
        for (peer, seen_as) in [
            ("172.15.255.255", "172.15.255.255"),
            ("172.32.0.0", "172.32.0.0"),
            ("fe00::1", "fe00::/64"),
            ("::172.16.0.1", "::/64"),
        ] {
            assert_eq!(seen(peer, &["203.0.113.9"]), seen_as);
        }
        let everything = "0.0.0.0/0".parse::<Network>().expect("a network");
        assert!(everything.overlaps(ip("203.0.113.9")) && !everything.overlaps(ip("2001:db8::1")));
        assert!(
            "::/0"
                .parse::<Network>()
                .expect("a network")
                .overlaps(ip("203.0.113.9"))
        );
        for no_network in [
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0/8",
            "/8",
            "10.0.0.0/8/8",
            "10.0.0.0/4294967295",
        ] {
            assert!(no_network.parse::<Network>().is_err(), "{no_network}");
        }
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        assert_eq!(seen("198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(seen("::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn the_last_untrusted_hop_counts() {
        assert_eq!(
            seen("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"]),
            "203.0.113.9"
        );
        assert_eq!(seen("10.0.0.1", &["1.1.1.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["10.0.0.2"]), "10.0.0.2");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, nonsense"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn ipv6_counts_by_network() {
        assert_eq!(seen("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::/64");
        assert_eq!(
            seen("10.0.0.1", &["[2001:db8:1:2::9]:80"]),
            "2001:db8:1:2::/64"
        );
    }

    #[test]
    fn a_translated_ipv4_address_counts_as_itself() {
        assert_eq!(seen("64:ff9b::203.0.113.9", &[]), "203.0.113.9");
        assert_eq!(seen("64:ff9b::1:203.0.113.9", &[]), "64:ff9b::/64");
        assert_eq!(seen("10.0.0.1", &["64:ff9b::cb00:7109"]), "203.0.113.9");
    }

    #[test]
    fn https_is_what_the_trusted_proxy_says() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
        assert!(client_origin(ip("10.0.0.1"), &headers, &[ip("10.0.0.1").into()]).1);
        assert!(!client_origin(ip("10.0.0.9"), &headers, &[ip("10.0.0.1").into()]).1);
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                headers.insert(FORWARDED_FOR, value.clone());
                headers.insert(FORWARDED_PROTO, value);
                let _ = client_origin(ip("10.0.0.1"), &headers, &[ip("10.0.0.1").into()]);
            }
        }
    }
}
