// What hyper needs, on tokio, to answer with a JSON that is made for each request. $TOKIO_WORKER_THREADS sets the threads.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderValue, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpListener;

#[derive(Serialize)]
struct Reply<'a> {
    message: &'a str,
    id: i32,
    new: bool,
}

async fn handle(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET || request.uri().path() != "/json" {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let reply = Reply { message: "Hello, World!", id: 42, new: true };
    let body = serde_json::to_vec(&reply).expect("strings and numbers can always be written");
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn serve(port: u16) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // An error is a peer that has gone.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(handle))
                .await;
        });
    }
}

/// The version of a crate as cargo has chosen it.
fn version_of(name: &str) -> &'static str {
    let start = format!("name = \"{name}\"\nversion = \"");
    let text = include_str!("../Cargo.lock").split(start.as_str()).nth(1).unwrap_or("?");
    text.split('"').next().unwrap_or("?")
}

fn main() {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "--version" {
        println!("hyper {}, tokio {}", version_of("hyper"), version_of("tokio"));
        return;
    }
    let Ok(port) = argument.parse() else {
        eprintln!("usage: http_hyper <port> | --version");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build().expect("a runtime");
    if let Err(error) = runtime.block_on(serve(port)) {
        eprintln!("http_hyper: {error}");
        std::process::exit(1);
    }
}
