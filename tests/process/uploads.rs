//! Bodies too large for memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use crate::support::{Body, Client, Graph, Sidecar, exclusive, fact, replace_file, sample, settings};

const DISK: &str = "graphward_replay_buffer_bytes{storage=\"disk\"}";
const CHUNK: usize = 64 * 1024;
const CHUNKS: u64 = 1600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_mebibytes_of_media_survive_an_expiry_in_little_memory_and_leave_nothing_behind() {
    let _turn = exclusive().await;
    let graph = Graph::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (path, spool) = (dir.path().join("token"), dir.path().join("spool"));
    std::fs::create_dir(&spool).unwrap();
    let old = graph.sim.issue(None);
    replace_file(&path, &old);
    let source = format!("file = {path:?}");
    let more = format!("[heal]\nhold_timeout = \"30s\"\nspool_dir = {spool:?}\n");
    let sidecar = Sidecar::start(dir.path(), &settings(&graph, &source, &more)).await;
    let mut client = Client::connect(sidecar.proxy).await;
    assert_eq!(client.text("before").await.status, 200);
    graph.sim.expire(&old);
    let idle = sidecar.memory_kib("VmHWM");

    let (request, digest) = upload();
    let started = Instant::now();
    let mut on_disk = 0;
    let dropping = async {
        // The new token comes when the first attempt, with the whole body, has been rejected.
        while graph.sim.rejected() == 0 {
            let metrics = sidecar.metrics().await;
            on_disk = on_disk.max(sample(&metrics, DISK));
            assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
            sleep(Duration::from_millis(20)).await;
        }
        replace_file(&path, graph.sim.issue(None));
    };
    let (response, ()) = futures_util::future::join(client.send(request), dropping).await;
    let took = started.elapsed();

    assert_eq!(response.status, 200, "{response:?}");
    let id = response.json()["id"].as_str().unwrap().to_owned();
    let seen = client.get(&format!("/v26.0/{id}")).await.json();
    assert_eq!(seen["file_size"], CHUNKS * CHUNK as u64);
    assert_eq!(seen["sha256"], hex(&digest.lock().unwrap().clone().finalize()));

    let growth = sidecar.memory_kib("VmHWM") - idle;
    fact(&format!(
        "upload: 100 MiB healed in {took:?}; memory {idle} KiB before, {growth} KiB more at its peak; {on_disk} \
         bytes on disk meanwhile"
    ));
    assert!(on_disk > 100 << 20, "{on_disk}");
    assert!(growth < 16 * 1024, "{growth} KiB");
    assert_eq!(sidecar.metric(DISK).await, 0);
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    let healed = "graphward_requests_total{tenant=\"default\",outcome=\"healed\"}";
    assert_eq!(sidecar.metric(healed).await, 1);
}

/// An upload that is generated while it is sent, and its digest, which is complete then.
fn upload() -> (Request<Body>, Arc<Mutex<Sha256>>) {
    const BOUNDARY: &str = "graphward-e2e";
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"catalogue.pdf\"\r\n\
         Content-Type: application/pdf\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = head.len() as u64 + CHUNKS * CHUNK as u64 + tail.len() as u64;
    let digest = Arc::new(Mutex::new(Sha256::new()));
    let hashed = Arc::clone(&digest);
    let file = (0..CHUNKS).map(move |number| {
        let mut chunk = vec![0; CHUNK];
        fastrand::Rng::with_seed(number).fill(&mut chunk);
        hashed.lock().unwrap().update(&chunk);
        Bytes::from(chunk)
    });
    let pieces = std::iter::once(head.into())
        .chain(file)
        .chain(std::iter::once(tail.into()));
    let body = StreamBody::new(stream::iter(pieces.map(|piece| Ok(Frame::data(piece)))));
    let request = Request::post("/v26.0/106540352242922/media")
        .header(
            header::CONTENT_TYPE,
            format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .header(header::CONTENT_LENGTH, length)
        .body(BodyExt::boxed(body))
        .unwrap();
    (request, digest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
