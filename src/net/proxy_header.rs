//! The PROXY header, with which a proxy begins a connection: versions 1 and 2.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header that is read, in bytes.
const MAX_LENGTH: usize = 536;

/// The longest header of version 1, in bytes.
const MAX_LENGTH_1: usize = 107;

/// The bytes that begin a header of version 2.
const SIGNATURE_2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The bytes of a header of version 2 before its addresses.
const FIXED_LENGTH_2: usize = 16;

/// Reads the header that begins a connection, and no byte after it. Returns the
/// address of the visitor; `None` if the proxy speaks for itself.
///
/// # Errors
///
/// Fails if the stream does not begin with a header, or cannot be read.
pub async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; MAX_LENGTH];
    // Every header has as many bytes as the signature.
    let signature = &mut head[..SIGNATURE_2.len()];
    stream.read_exact(signature).await?;
    if *signature == SIGNATURE_2 {
        stream
            .read_exact(&mut head[SIGNATURE_2.len()..FIXED_LENGTH_2])
            .await?;
        let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
        let rest = head.get_mut(FIXED_LENGTH_2..FIXED_LENGTH_2 + length);
        stream.read_exact(rest.ok_or_else(invalid)?).await?;
        return version_2(
            head[12],
            head[13],
            &head[FIXED_LENGTH_2..FIXED_LENGTH_2 + length],
        );
    }
    let mut length = SIGNATURE_2.len();
    if !head.starts_with(b"PROXY ") {
        return Err(invalid());
    }
    // Byte by byte: what follows the line is not the header's.
    while !head[..length].ends_with(b"\r\n") {
        if length == MAX_LENGTH_1 {
            return Err(invalid());
        }
        stream.read_exact(&mut head[length..=length]).await?;
        length += 1;
    }
    version_1(&head[..length - 2])
}

/// Reads a line of version 1 without its end.
fn version_1(line: &[u8]) -> io::Result<Option<SocketAddr>> {
    let line = str::from_utf8(line).map_err(|_| invalid())?;
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            source,
            destination,
            port,
            other_port,
        ] => {
            let address = |text: &str| text.parse::<IpAddr>().map_err(|_| invalid());
            let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
            let (source, destination) = (address(source)?, address(destination)?);
            number(other_port)?;
            let is_v4 = family == "TCP4";
            if source.is_ipv4() != is_v4 || destination.is_ipv4() != is_v4 {
                return Err(invalid());
            }
            Ok(Some(SocketAddr::new(source, number(port)?)))
        }
        _ => Err(invalid()),
    }
}

/// Reads a header of version 2 from its version and command, its family and
/// protocol, and its addresses with all that follows them.
fn version_2(command: u8, family: u8, addresses: &[u8]) -> io::Result<Option<SocketAddr>> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    match command {
        LOCAL => return Ok(None),
        PROXY => {}
        _ => return Err(invalid()),
    }
    // The high half is the family; the low half is the transport. The visitor's
    // address comes first, then the proxy's, then their ports.
    match family >> 4 {
        1 => {
            let block: &[u8; 12] = addresses.first_chunk().ok_or_else(invalid)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *block;
            let port = u16::from_be_bytes([high, low]);
            Ok(Some((Ipv4Addr::new(a, b, c, d), port).into()))
        }
        2 => {
            let block: &[u8; 36] = addresses.first_chunk().ok_or_else(invalid)?;
            let (source, rest) = block.split_first_chunk::<16>().ok_or_else(invalid)?;
            let port = u16::from_be_bytes([rest[16], rest[17]]);
            Ok(Some((Ipv6Addr::from(*source), port).into()))
        }
        // Unspecified, or a Unix socket: there is no address of a visitor.
        0 | 3 => Ok(None),
        _ => Err(invalid()),
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    /// Reads a header from bytes that are all there. Returns the visitor, and
    /// how many bytes were left.
    fn read_from(bytes: &[u8]) -> io::Result<(Option<SocketAddr>, usize)> {
        let mut rest = bytes;
        let visitor = read(&mut rest).now_or_never().expect("all is there")?;
        Ok((visitor, rest.len()))
    }

    fn version_2_header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).expect("short");
        let mut header = SIGNATURE_2.to_vec();
        header.extend([command, family]);
        header.extend(length.to_be_bytes());
        header.extend(addresses);
        header
    }

    #[test]
    fn headers_of_version_1_name_the_visitor() {
        for (line, visitor) in [
            (
                "PROXY TCP4 192.0.2.7 192.0.2.1 99 443",
                Some("192.0.2.7:99"),
            ),
            (
                "PROXY TCP6 2001:db8::7 2001:db8::1 99 443",
                Some("[2001:db8::7]:99"),
            ),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2", None),
        ] {
            let sent = format!("{line}\r\nGET /");
            let read = read_from(sent.as_bytes()).expect(line);
            let visitor = visitor.map(|addr| addr.parse().expect(addr));
            assert_eq!(read, (visitor, 5), "{line}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LENGTH_1 - 16));
        assert_eq!(long.len(), MAX_LENGTH_1);
        assert!(read_from(long.as_bytes()).is_ok());
        for wrong in [
            "GET / HTTP/1.1\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 99\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 99 443 1\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 99 65536\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 99 443\r\n",
            "PROXY TCP6 192.0.2.7 192.0.2.1 99 443\r\n",
            "PROXY TCP4 192.0.2.700 192.0.2.1 99 443\r\n",
            "PROXY  TCP4 192.0.2.7 192.0.2.1 99 443\r\n",
            "PROXY UDP4 192.0.2.7 192.0.2.1 99 443\r\n",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWN",
            &long.replace("UNKNOWN x", "UNKNOWN xx"),
        ] {
            assert!(read_from(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_of_version_2_name_the_visitor() {
        let v4 = [192, 0, 2, 7, 192, 0, 2, 1, 0, 99, 1, 187];
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 7, 99);
        let with_tlv = [&v4[..], &[4, 0, 1, 9]].concat();
        let unix = [0; 216];
        for (command, family, addresses, visitor) in [
            (0x21, 0x11, &v4[..], Some("192.0.2.7:99")),
            (0x21, 0x11, &with_tlv, Some("192.0.2.7:99")),
            (0x21, 0x21, &v6, Some("[2001::7]:99")),
            (0x21, 0x31, &unix, None),
            (0x21, 0x00, &[], None),
            (0x20, 0x11, &v4, None),
            (0x20, 0x00, &[], None),
        ] {
            let mut sent = version_2_header(command, family, addresses);
            sent.extend(b"GET /");
            let visitor = visitor.map(|addr| addr.parse().expect(addr));
            let read = read_from(&sent).expect("a header");
            assert_eq!(read, (visitor, 5), "{command:x} {family:x}");
        }
        let longest = vec![0; MAX_LENGTH - FIXED_LENGTH_2];
        let too_long = vec![0; MAX_LENGTH - FIXED_LENGTH_2 + 1];
        assert!(read_from(&version_2_header(0x21, 0x11, &longest)).is_ok());
        for (command, family, addresses) in [
            (0x21, 0x11, &v4[..11]),
            (0x21, 0x21, &v6[..35]),
            (0x22, 0x11, &v4),
            (0x11, 0x11, &v4),
            (0x21, 0x41, &v4),
            (0x21, 0x11, &too_long),
        ] {
            let sent = version_2_header(command, family, addresses);
            assert!(read_from(&sent).is_err(), "{command:x} {family:x}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_the_limit(
            start in prop_oneof![
                Just(Vec::new()),
                Just(b"PROXY ".to_vec()),
                Just(b"PROXY TCP4 1.2.3.4 ".to_vec()),
                Just(SIGNATURE_2.to_vec()),
                Just([&SIGNATURE_2[..], &[0x21]].concat()),
            ],
            rest in proptest::collection::vec(any::<u8>(), 0..700),
        ) {
            let sent = [start, rest].concat();
            if let Ok((_, left)) = read_from(&sent) {
                prop_assert!(sent.len() - left <= MAX_LENGTH);
            }
        }

        #[test]
        fn a_written_header_is_read_again(
            v4 in any::<bool>(), bits in any::<u128>(), port in any::<u16>(), after in any::<u8>(),
        ) {
            let (source, family) = if v4 {
                (IpAddr::V4(Ipv4Addr::from(bits.to_be_bytes()[0..4].first_chunk().copied().expect("four"))), "TCP4")
            } else {
                (IpAddr::V6(Ipv6Addr::from(bits)), "TCP6")
            };
            let mut sent = format!("PROXY {family} {source} {source} {port} 1\r\n").into_bytes();
            sent.push(after);
            let read = read_from(&sent).expect("a header");
            prop_assert_eq!(read, (Some(SocketAddr::new(source, port)), 1));
        }
    }
}
