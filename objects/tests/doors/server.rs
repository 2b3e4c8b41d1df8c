//! A small S3 in memory, on a real socket, that misbehaves as a test says.
//!
//! It knows what FirnDB's door needs: PUT (also if there is none, also in parts), GET (also a range, also of one content),
//! HEAD, DELETE of several, LIST by pages; it checks no signatures. Reactions are planned by method, one for each request. Every answer closes its
//! connection.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Objects on a page of a list.
const PAGE: usize = 1000;

/// What the server does with a request instead of the right thing.
#[derive(Debug, Clone)]
pub(crate) enum Reaction {
    /// Answers with a status and a body; nothing happens.
    Status(u16, &'static str),
    /// Does it, and closes the connection without an answer.
    Land,
    /// Does it, and answers with a status.
    LandAndSay(u16, &'static str),
    /// Closes the connection; nothing happens.
    Close,
    /// Does not answer before the client gives up, and does it then.
    LandLater(Duration),
    /// Does it, and answers late.
    Late(Duration),
    /// Announces the body and sends half of it.
    Cut,
    /// Sends a byte more than the range that was asked for.
    Longer,
    /// Sends the range one byte on.
    WrongRange,
    /// Sends all of the object where a range was asked for.
    Whole,
}

/// A running server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Parts of what is not an object yet, by key and number.
    parts: Mutex<BTreeMap<(String, usize), Vec<u8>>>,
    plan: Mutex<HashMap<String, VecDeque<Reaction>>>,
    requests: Mutex<Vec<String>>,
    /// Whether a create looks first and writes then.
    two_steps: AtomicBool,
    /// Whether the condition of a create is not looked at at all.
    careless: AtomicBool,
}

/// A request as it came.
#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    query: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// An answer as it goes.
#[derive(Debug, Default)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// How much of the body is not sent.
    cut: usize,
    is_head: bool,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&server.state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || state.serve(&stream.unwrap()));
            }
        });
        server
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Plans reactions to the next requests of `method`, in order.
    pub(crate) fn plan(&self, method: &str, reactions: impl IntoIterator<Item = Reaction>) {
        self.state.plan.lock().entry(method.to_owned()).or_default().extend(reactions);
    }

    /// Whether everything that was planned came to pass.
    pub(crate) fn is_done(&self) -> bool {
        self.state.plan.lock().values().all(VecDeque::is_empty)
    }

    /// The methods of the requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.requests.lock())
    }

    /// The content of the object `key` of the bucket.
    pub(crate) fn content(&self, key: &str) -> Option<Vec<u8>> {
        self.state.objects.lock().get(key).cloned()
    }

    /// Puts an object there, as another client would.
    pub(crate) fn plant(&self, key: &str, content: &[u8]) {
        self.state.objects.lock().insert(key.to_owned(), content.to_vec());
    }

    /// How many parts wait for the object that they are of.
    pub(crate) fn waiting_parts(&self) -> usize {
        self.state.parts.lock().len()
    }

    pub(crate) fn create_in_two_steps(&self) {
        self.state.two_steps.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ignore_conditions(&self) {
        self.state.careless.store(true, Ordering::Relaxed);
    }
}

impl State {
    fn serve(&self, stream: &TcpStream) {
        let Ok(Some(request)) = Request::read(stream) else { return };
        self.requests.lock().push(request.method.clone());
        let reaction = self.plan.lock().get_mut(&request.method).and_then(VecDeque::pop_front);
        let mut answer = match reaction {
            None => self.act(&request),
            Some(Reaction::Status(status, body)) => Answer::of(status, body),
            Some(Reaction::Land) => {
                self.act(&request);
                return;
            }
            Some(Reaction::LandAndSay(status, body)) => {
                self.act(&request);
                Answer::of(status, body)
            }
            Some(Reaction::Close) => return,
            Some(Reaction::LandLater(after)) => {
                std::thread::sleep(after);
                self.act(&request);
                return;
            }
            Some(Reaction::Late(after)) => {
                let answer = self.act(&request);
                std::thread::sleep(after);
                answer
            }
            Some(Reaction::Cut) => {
                let mut answer = self.act(&request);
                answer.cut = answer.body.len().div_ceil(2);
                answer
            }
            Some(Reaction::Longer) => {
                let mut answer = self.act(&request);
                answer.body.push(b'!');
                answer
            }
            Some(Reaction::WrongRange) => self.act(&request.moved()),
            Some(Reaction::Whole) => self.act(&request.whole()),
        };
        answer.is_head = request.method == "HEAD";
        // A client that gave up is not there to be told.
        let _ = answer.write(stream);
    }

    fn act(&self, request: &Request) -> Answer {
        let key = request.path.split('/').skip(2).collect::<Vec<_>>().join("/");
        match request.method.as_str() {
            "PUT" if request.query.contains("partNumber=") => self.put_part(request, key),
            "PUT" => self.put(request, key),
            "POST" if request.query.contains("upload") => self.make(request, key),
            "DELETE" => {
                self.parts.lock().retain(|(of, _), _| *of != key);
                Answer::of(204, "")
            }
            "GET" if request.query.contains("list-type=2") => self.list(&request.query),
            "GET" | "HEAD" => self.get(request, &key),
            "POST" => self.delete(&request.body),
            _ => Answer::of(501, "<Code>NotImplemented</Code>"),
        }
    }

    fn put(&self, request: &Request, key: String) -> Answer {
        let is_create = request.headers.contains_key("if-none-match") && !self.careless.load(Ordering::Relaxed);
        if is_create && self.two_steps.load(Ordering::Relaxed) {
            if self.objects.lock().contains_key(&key) {
                return Answer::of(412, "<Code>PreconditionFailed</Code>");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut objects = self.objects.lock();
        if is_create && !self.two_steps.load(Ordering::Relaxed) && objects.contains_key(&key) {
            return Answer::of(412, "<Code>PreconditionFailed</Code>");
        }
        objects.insert(key, request.body.clone());
        Answer { headers: vec![("ETag", "\"1\"".to_owned())], ..Answer::of(200, "") }
    }

    fn put_part(&self, request: &Request, key: String) -> Answer {
        let number = request.query.split('&').find_map(|pair| pair.strip_prefix("partNumber="));
        self.parts.lock().insert((key, number.unwrap().parse().unwrap()), request.body.clone());
        Answer { headers: vec![("ETag", "\"1\"".to_owned())], ..Answer::of(200, "") }
    }

    /// Begins an object of parts, or makes it.
    fn make(&self, request: &Request, key: String) -> Answer {
        let named = |what: &str| format!("<{what}><Key>{key}</Key><UploadId>1</UploadId><ETag>\"1\"</ETag></{what}>");
        if !request.query.contains("uploadId=") {
            return Answer::of(200, &named("InitiateMultipartUploadResult"));
        }
        let mut parts = self.parts.lock();
        let of = |(of, _): &(String, usize)| *of == key;
        let content: Vec<u8> = parts.iter().filter(|(part, _)| of(part)).flat_map(|(_, bytes)| bytes.clone()).collect();
        if content.is_empty() {
            return Answer::of(404, "<Code>NoSuchUpload</Code>");
        }
        let answer = Answer::of(200, &named("CompleteMultipartUploadResult"));
        parts.retain(|part, _| !of(part));
        self.objects.lock().insert(key, content);
        answer
    }

    fn get(&self, request: &Request, key: &str) -> Answer {
        let objects = self.objects.lock();
        let Some(content) = objects.get(key) else { return Answer::of(404, "<Code>NoSuchKey</Code>") };
        let mut answer = Answer::of(200, "");
        let tag = format!("\"{:x}\"", xxhash_rust::xxh3::xxh3_64(content));
        if request.headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
            return Answer::of(412, "<Code>PreconditionFailed</Code>");
        }
        answer.headers.push(("ETag", tag));
        answer.headers.push(("Last-Modified", "Thu, 26 Nov 2026 10:00:00 GMT".to_owned()));
        answer.body.clone_from(content);
        if let Some((start, end)) = request.range() {
            if start >= content.len() {
                return Answer::of(416, "<Code>InvalidRange</Code>");
            }
            let end = end.min(content.len() - 1);
            answer.status = 206;
            answer.headers.push(("Content-Range", format!("bytes {start}-{end}/{}", content.len())));
            answer.body = content[start..=end].to_vec();
        }
        answer
    }

    fn list(&self, query: &str) -> Answer {
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            pair.unwrap_or_default().replace("%2F", "/").replace("%3D", "=")
        };
        let (prefix, after) = (value("prefix"), value("continuation-token"));
        let objects = self.objects.lock();
        let mut inside = objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after).peekable();
        let mut page = String::new();
        let mut last = String::new();
        for (key, content) in inside.by_ref().take(PAGE) {
            last.clone_from(key);
            let size = content.len();
            page += &format!(
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>\"1\"</ETag>\
                 <LastModified>2026-11-26T10:00:00.000Z</LastModified></Contents>"
            );
        }
        let more = match inside.peek() {
            Some(_) => format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{last}</NextContinuationToken>"),
            None => "<IsTruncated>false</IsTruncated>".to_owned(),
        };
        Answer {
            body: format!("<ListBucketResult>{more}{page}</ListBucketResult>").into_bytes(),
            ..Answer::of(200, "")
        }
    }

    fn delete(&self, body: &[u8]) -> Answer {
        let body = String::from_utf8_lossy(body);
        let keys = body.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        let mut deleted = String::new();
        for key in keys {
            self.objects.lock().remove(key);
            deleted += &format!("<Deleted><Key>{key}</Key></Deleted>");
        }
        Answer { body: format!("<DeleteResult>{deleted}</DeleteResult>").into_bytes(), ..Answer::of(200, "") }
    }
}

impl Request {
    fn read(stream: &TcpStream) -> io::Result<Option<Self>> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut parts = line.split(' ');
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return Ok(None) };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (path, query) = (path.replace("%3D", "="), query.to_owned());
        Ok(Some(Self { method: method.to_owned(), path, query, headers, body }))
    }

    /// First and last byte of the range that is asked for.
    fn range(&self) -> Option<(usize, usize)> {
        let (start, end) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse().ok()?, end.parse().ok()?))
    }

    /// The same request for the range one byte on.
    fn moved(&self) -> Self {
        let mut moved = self.clone();
        if let Some((start, end)) = self.range() {
            moved.headers.insert("range".to_owned(), format!("bytes={}-{}", start + 1, end + 1));
        }
        moved
    }

    /// The same request for the whole object.
    fn whole(&self) -> Self {
        let mut whole = self.clone();
        whole.headers.remove("range");
        whole
    }
}

impl Answer {
    fn of(status: u16, body: &str) -> Self {
        Self { status, body: body.as_bytes().to_vec(), ..Self::default() }
    }

    fn write(&self, mut stream: &TcpStream) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", self.status);
        head += &format!("Content-Length: {}\r\n", self.body.len());
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        if !self.is_head {
            stream.write_all(&self.body[..self.body.len() - self.cut])?;
        }
        stream.flush()
    }
}
