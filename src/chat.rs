//! A chat inside a program: mounted as a service, spoken to and listened to without a request.

pub(crate) mod listener;
pub(crate) mod talk;

mod moderation;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
#[cfg(feature = "tower")]
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Body as HttpBody;
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::time::{MissedTickBehavior, interval};

use crate::author::AuthorKey;
use crate::http::body::Body;
use crate::http::routes;
use crate::http::session::Sessions;
use crate::http::site::Site;
use crate::options::Options;
use crate::rooms::hub::Hub;
use crate::rooms::limits::BEATS_PER_PERIOD;
use crate::store::Store;
use crate::store::standing::Standing;

/// How often rooms are told who joined and left, and idle state is forgotten.
const TICK: Duration = Duration::from_secs(1);
/// Whether heartbeats are due is checked at least once a [`TICK`], and not more often than this.
const SHORTEST_BEAT: Duration = Duration::from_millis(50);

/// A chat: rooms, the people in them and what they said, with the interface by which browsers
/// reach it.
///
/// It is a [`hyper::service::Service`] for requests with any body, cheap to clone, and independent
/// of other chats in the process. Its tasks end within about a second after the last clone and
/// listener is dropped, or after [`Chat::close`].
#[derive(Clone)]
pub struct Chat {
    pub(crate) site: Arc<Site>,
}

impl Chat {
    /// Makes a chat, with what it stored in previous runs.
    ///
    /// # Errors
    /// There is no Tokio runtime; an option cannot be right ([`io::ErrorKind::InvalidInput`]); or the data
    /// folder cannot be used. The error says why and what to do. Where a disk is the cause, its own
    /// error is the [source](std::error::Error::source).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use std::error::Error;
    ///
    /// let mut options = chatroom::Options::default();
    /// options.data = Some("/dev/null/data".into());
    /// let error = chatroom::Chat::open(options).expect_err("not a folder");
    /// let disk = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    /// assert_eq!(disk.and_then(|disk| disk.raw_os_error()), Some(20), "{error}");
    /// # }
    /// ```
    pub fn open(options: Options) -> io::Result<Chat> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let bad = |line| io::Error::new(io::ErrorKind::InvalidInput, line);
        let options = options.checked().map_err(bad)?;
        log_configuration(&options);
        let options = Arc::new(options);
        let hub = Arc::new(Hub::new(options.clone()));
        let standing = Arc::new(Standing::new(options));
        let random = || Sessions::new("").issue().0.to_be_bytes();
        let (store, authors) = Store::open(&hub, &standing, random)?;
        Ok(Chat::new(Site::new(
            hub,
            store,
            AuthorKey(authors),
            standing,
        )))
    }

    fn new(site: Site) -> Chat {
        let heartbeat = site.options.heartbeat;
        let site = Arc::new(site);
        // What has expired while nobody was there is gone before anybody can ask.
        site.tick();
        tokio::spawn(every(TICK, Arc::downgrade(&site), Site::tick));
        if let Some(period) = heartbeat {
            let beat = (period / BEATS_PER_PERIOD).clamp(SHORTEST_BEAT, TICK);
            tokio::spawn(every(beat, Arc::downgrade(&site), |site| site.hub.beat()));
        }
        Chat { site }
    }

    /// Closes the chat gracefully: it refuses new streams and messages, commits those in flight and
    /// syncs the journal. Then every stream says goodbye and ends. [`serve`](crate::serve) does this
    /// by itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let mut listener = chat.listen(["lobby"], None).await?;
    /// chat.close().await;
    /// while let Some(heard) = listener.next().await {
    ///     assert!(heard.position().is_some(), "{heard:?}");
    /// }
    /// let refusal = chat.post("lobby", "ann", "too late").await.expect_err("the chat is closed");
    /// assert_eq!(refusal.code(), "draining");
    /// # Ok(()) }
    /// ```
    pub async fn close(&self) {
        self.site.drain().await;
    }
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat")
            .field("prefix", &self.site.options.prefix)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Chat
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let chat = self.clone();
        Box::pin(async move { Ok(routes::answer(&chat.site, request).await) })
    }
}

/// As axum wants it. With `route_service` and `fallback_service`, the chat has the path as its
/// [prefix](Options::prefix). `nest_service` takes the path off before the chat sees it, so that the chat
/// has none; link to the path with its slash then, since the chat cannot tell when that is missing.
///
/// ```
/// use axum::extract::{ConnectInfo, Request};
/// use axum::middleware::{Next, from_fn};
/// use axum::{Router, routing::get};
/// use chatroom::{Chat, Options, PeerAddr};
/// use std::net::SocketAddr;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let team = Chat::open(Options::default())?;
/// let mut options = Options::default();
/// options.prefix = "/guests".to_owned();
/// let guests = Chat::open(options)?;
/// let app: Router = Router::new()
///     .route("/", get(async || "Come to /team/ or /guests/!"))
///     .nest_service("/team", team)
///     .route_service("/guests/{*path}", guests.clone())
///     .route_service("/guests/", guests.clone())
///     .route_service("/guests", guests)
///     .layer(from_fn(async |ConnectInfo(peer), mut request: Request, next: Next| {
///         request.extensions_mut().insert(PeerAddr(peer));
///         next.run(request).await
///     }));
/// let app = app.into_make_service_with_connect_info::<SocketAddr>();
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # let listener = chatroom::bind("127.0.0.1:0".parse()?)?;
/// # let address = listener.local_addr()?;
/// # let server = tokio::spawn(async { axum::serve(listener, app).await });
/// # for (path, part) in [
/// #     ("/", "Come to"), ("/team/", "<script"), ("/team/js/main.js", "import"), ("/team/rooms", "[]"),
/// #     ("/guests/", "<script"), ("/guests/rooms", "[]"), ("/guests/x", "not-found"),
/// #     ("/guests", "location: /guests/"),
/// # ] {
/// #     let mut client = tokio::net::TcpStream::connect(address).await?;
/// #     let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
/// #     client.write_all(request.as_bytes()).await?;
/// #     let mut answer = String::new();
/// #     client.read_to_string(&mut answer).await?;
/// #     assert!(answer.contains(part), "{path}: {answer}");
/// # }
/// # server.abort();
/// # Ok(()) }
/// ```
#[cfg(feature = "tower")]
impl<B> tower_service::Service<Request<B>> for Chat
where
    Chat: Service<Request<B>>,
{
    type Response = <Chat as Service<Request<B>>>::Response;
    type Error = <Chat as Service<Request<B>>>::Error;
    type Future = <Chat as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Service::call(self, request)
    }
}

/// Repeats some work until the chat is closed or dropped.
async fn every(period: Duration, site: Weak<Site>, work: fn(&Site)) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match site.upgrade().filter(|site| !site.hub.is_closed()) {
            Some(site) => work(&site),
            None => return,
        }
    }
}

/// Tells the operator what matters most.
fn log_configuration(options: &Options) {
    let messages = match (&options.data, options.remembers()) {
        (Some(_), _) => "a journal",
        (None, true) => "Redis",
        (None, false) => "memory only",
    };
    let password = options.password.as_ref().map_or("none", |_| "asked");
    let rooms = match options.rooms.len() {
        0 => "any".to_owned(),
        offered => format!("{offered} on offer"),
    };
    options.log.info(format_args!(
        "version {}, messages in {messages}, password {password}, rooms {rooms}, trusted proxies {}, allowed origins {}",
        env!("CARGO_PKG_VERSION"),
        options.trusted_proxy.len(),
        options.allow_origin.len()
    ));
}
