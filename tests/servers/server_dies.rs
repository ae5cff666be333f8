//! A server dies, and its clients go on at the other one.

use std::time::Duration;

use crate::common::redis::{Redis, free_port};
use crate::common::{Folder, eventually, get};
use crate::ordeal::{Ordeal, server};

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_resume_at_the_other_server_through_nginx() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let (folder, port) = (Folder::new(), free_port());
    let path = folder.as_str();
    let user = if std::fs::metadata("/root").is_ok() {
        "user root;"
    } else {
        ""
    };
    let configuration = format!(
        "daemon off; pid {path}/pid; error_log stderr; {user}
        events {{ worker_connections 2048; }}
        http {{ access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
          fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
          upstream chatroom {{ server {}; server {}; }}
          server {{ listen 127.0.0.1:{port};
            location / {{ proxy_pass http://chatroom; proxy_http_version 1.1; proxy_set_header Connection '';
              proxy_set_header Host $host; }} }} }}",
        a.address(),
        b.address()
    );
    let file = folder.file("nginx.conf", configuration);
    let mut nginx = tokio::process::Command::new("nginx")
        .args(["-e", "stderr", "-p", path, "-c", &file])
        .env(
            "PATH",
            format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()),
        )
        .kill_on_drop(true)
        .spawn()
        .expect("nginx is installed");
    let address = ([127, 0, 0, 1], port).into();
    eventually("nginx", async || {
        tokio::net::TcpStream::connect(address).await.is_ok()
    })
    .await;
    get(address, "/healthz").await.expect(200, "");
    let ordeal = Ordeal::with_followers(&[address], 200).await;
    ordeal.go_on(Duration::from_secs(1)).await;
    a.kill().await;
    ordeal.go_on(Duration::from_secs(2)).await;
    let outcome = ordeal.end().await;
    assert_eq!((outcome.lost, outcome.told), (0, 0), "{outcome:?}");
    assert!(outcome.acknowledged > 50, "{outcome:?}");
    nginx.start_kill().expect("nginx runs");
}
