use broadcast_chat::{session, store::Storage};
use serde_json::json;

use crate::{
    programs::{Program, folder, rejected_start, server, server_command},
    support::{TestServer, options},
};

#[tokio::test]
async fn newcomers_receive_the_notice_once() {
    let mut options = options();
    options.session = session::SessionOptions {
        motd: Some("Be kind.\n* bob: \u{1b}".to_owned().into()),
        ..options.session
    };
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let posted = server
        .request(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    assert!(posted.ends_with("{\"seq\":1}\n"), "{posted}");
    let mut plain = server.plain("/?backlog=1").await;
    assert_eq!(plain.text().await, "* Be kind.\n  * bob: \u{fffd}");
    assert!(plain.text().await.ends_with(": hi"));
    assert_eq!(plain.text_after("/join tea").await, "* You are now in tea.");
    assert_eq!(plain.text_after("/topic").await, "* tea has no topic.");
    let (mut json, _) = server.json("/").await;
    let notice = json!({"type": "notice", "text": "Be kind.\n* bob: \u{fffd}"});
    assert_eq!(json.event().await, notice);
    assert_eq!(json.event().await["type"], "live");
    let mut reader = server.follow("/", "").await;
    for kind in ["welcome", "live"] {
        let told = reader.sse_event().await.expect("an event");
        assert_eq!(told.event.as_deref(), Some(kind));
    }
}

#[tokio::test]
async fn an_invalid_notice_file_is_explained() {
    let folder = folder();
    let path = folder.path().join("motd");
    let path = path.to_str().expect("UTF-8");
    for (written, told) in [
        (None, "No such file or directory"),
        (Some(&b"\xff"[..]), "the file is not UTF-8"),
        (Some(&[b'x'; 4097]), "the file is longer than 4 KiB"),
    ] {
        if let Some(bytes) = written {
            std::fs::write(path, bytes).expect("written");
        }
        let said = rejected_start(&mut server_command(folder.path(), &["--motd", path])).await;
        assert!(said.contains(told), "{said}");
    }
    std::fs::write(path, "Be kind.\n").expect("written");
    let (_server, addr) = server(folder.path(), &["--motd", path]).await;
    let mut client = Program::client(addr, &[]);
    assert_eq!(client.line().await, "Welcome to chat! Type a message");
    assert_eq!(client.line().await, "* Be kind.");
}
