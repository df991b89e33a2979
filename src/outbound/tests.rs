use std::time::Duration;

use futures::FutureExt as _;
use futures::future::pending;
use futures::stream;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

const LIMITS: Limits = Limits { time: Duration::from_secs(5), body_bytes: 8 };

fn get(address: &str, trust: Trust) -> Request {
    Request {
        method: Method::GET,
        url: address.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Vec::new(),
        route: Route { trust, proxy: None },
    }
}

fn broken() -> TransportError {
    TransportError::Broken { cause: "connection reset".to_owned() }
}

/// What a server in memory does: after seconds, it has no answer, or one with these pieces and this end.
#[derive(Clone, Copy)]
enum Server {
    Fails,
    Hangs,
    Answers(u64, &'static [&'static str], End),
}
#[derive(Clone, Copy)]
enum End {
    Whole,
    Breaks,
    Hangs,
}
use End::{Breaks, Whole};
use Server::{Answers, Fails};

async fn reply(server: Server) -> Result<Reply, TransportError> {
    let Answers(seconds, pieces, end) = server else {
        return if let Fails = server { Err(broken()) } else { pending().await };
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let pieces = stream::iter(pieces.iter().map(|piece| Ok(piece.as_bytes().to_vec())));
    let body = match end {
        Whole => pieces.boxed(),
        Breaks => pieces.chain(stream::iter([Err(broken())])).boxed(),
        End::Hangs => pieces.chain(stream::pending()).boxed(),
    };
    Ok(Reply { status: StatusCode::OK, headers: HeaderMap::new(), body })
}

#[tokio::test(start_paused = true)]
async fn an_exchange_keeps_within_its_limits_and_says_where_it_did_not() {
    let late = || TransportError::Late { within: LIMITS.time };
    let large = TransportError::TooLarge { bytes_max: LIMITS.body_bytes };
    // What the server does, the body or error, why the body is not whole, seconds.
    let table = [
        (Answers(0, &[], Whole), Ok(""), None, 0),
        (Answers(4, &["one ", "two"], Whole), Ok("one two"), None, 4),
        (Answers(0, &["12345678"], Whole), Ok("12345678"), None, 0),
        (Answers(0, &["12345678", ""], Whole), Ok("12345678"), None, 0),
        (Answers(0, &["12345", "6789"], Whole), Ok("12345678"), Some(large), 0),
        (Answers(0, &["12"], Breaks), Ok("12"), Some(broken()), 0),
        (Answers(0, &["12"], End::Hangs), Ok("12"), Some(late()), 5),
        (Answers(3, &["12"], End::Hangs), Ok("12"), Some(late()), 5),
        (Answers(6, &[], Whole), Err(late()), None, 5),
        (Server::Hangs, Err(late()), None, 5),
        (Fails, Err(broken()), None, 0),
    ];
    for (row, (server, expected, cut_off, seconds)) in table.into_iter().enumerate() {
        let transport = move |_| reply(server).boxed();
        let start = Instant::now();
        let answer = exchange(&transport, get("http://prometheus", Trust::Plain), LIMITS).await;
        assert_eq!(start.elapsed().as_secs(), seconds, "row {row}");
        match answer {
            Ok(answer) => {
                let body = String::from_utf8(answer.body).unwrap();
                assert_eq!((Ok(body.as_str()), answer.cut_off), (expected, cut_off), "row {row}");
            }
            Err(error) => assert_eq!(Err(error), expected, "row {row}"),
        }
    }
}

/// The address of a server that does this with each connection, after it has read some of the request.
async fn server_that_answers(bytes: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://me:hunter2@{}/hunter2?token=hunter2", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn what_goes_wrong_on_the_network_has_a_kind_and_no_address() {
    let nobody = {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://me:hunter2@{}/hunter2", free.local_addr().unwrap())
    };
    let silent = server_that_answers("").await;
    let cut = server_that_answers("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n12").await;
    let babbling = server_that_answers("hello\r\n\r\n").await;
    let no_pem = Trust::Authorities(b"hunter2".to_vec());
    let mut proxied = get("http://receiver.invalid", Trust::Plain);
    proxied.route.proxy = Some("mailto:hunter2".parse().unwrap());
    let table = [
        (get(&nobody, Trust::Plain), "can't connect: Connection refused (os error 111)"),
        (get(&silent, Trust::Plain), "connection closed before message completed"),
        (get(&babbling, Trust::Plain), "invalid HTTP version parsed"),
        (get(&cut, Trust::Plain), "end of file before message length reached"),
        (get("https://127.0.0.1", no_pem), "no certificate in PEM format among the given authorities"),
        (proxied, "the address can't be used as a proxy"),
    ];
    let network = Pools::new();
    for (request, expected) in table {
        let shown = format!("{request:?}");
        let error = match exchange(&network, request, LIMITS).await {
            Ok(answer) => answer.cut_off.unwrap(),
            Err(error) => error,
        };
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{shown} {error:?}").contains("hunter2"), "{shown} {error:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let server = MockServer::start().await;
    let elsewhere = ResponseTemplate::new(302).insert_header("location", "/elsewhere");
    Mock::given(method("GET")).respond_with(elsewhere).expect(1).mount(&server).await;
    let answer = exchange(&Pools::new(), get(&server.uri(), Trust::Plain), LIMITS).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (302, &HeaderValue::from_static("/elsewhere")));
}

#[tokio::test]
async fn user_information_of_the_address_is_sent_unless_there_is_a_header() {
    // `Authorization` of the request, and what arrives.
    for (header, expected) in [(None, "Basic bWU6YSBi"), (Some("Bearer hunter2"), "Bearer hunter2")] {
        let server = MockServer::start().await;
        let mut request = get(&server.uri().replace("http://", "http://me:a%20b@"), Trust::Plain);
        request.headers.extend(header.map(|header| (AUTHORIZATION, HeaderValue::from_static(header))));
        exchange(&Pools::new(), request, LIMITS).await.unwrap();
        let received = server.received_requests().await.unwrap();
        let arrived: Vec<_> = received[0].headers.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(arrived, [expected]);
    }
}

#[tokio::test]
async fn connections_are_kept_for_each_way_and_not_for_ever_more() {
    let server = MockServer::start().await;
    let network = Pools::new();
    assert_eq!(network.len(), 0);
    let request = |proxy: u16| {
        let mut request = get(&server.uri(), Trust::Plain);
        request.route.proxy = Some(format!("{}/{proxy}", server.uri()).parse().unwrap());
        request
    };
    for proxy in (0..64).chain(0..64) {
        exchange(&network, request(proxy), LIMITS).await.unwrap();
    }
    assert_eq!(network.len(), 64);
    exchange(&network, request(64), LIMITS).await.unwrap();
    assert_eq!(network.len(), 1);
}
