//! The requests of `load`: the targets that its options name, with their bodies.

use crate::options::Requests;
use lab::load::{Connections, Field, Message, Mix, Parts, Target, is_method};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most bytes of all bodies. They are kept in memory.
const BODIES_MOST: u64 = 64 << 20;

/// The most bytes of a file of targets, and the most targets.
const FILE_MOST: u64 = 16 << 20;
const TARGETS_MOST: usize = 10_000;

/// A target as it is written: `[METHOD] URL [WEIGHT] [@BODYFILE]`.
#[derive(Debug, PartialEq)]
struct Line<'a> {
    method: Option<&'a str>,
    url: &'a str,
    weight: f64,
    body: Option<&'a str>,
}

/// A method and a path.
#[derive(Debug, Clone)]
pub struct Named {
    /// As in a request line.
    pub name: String,
    /// Its share of the requests.
    pub share: f64,
}

/// The requests of a load.
#[derive(Debug)]
pub struct Targets {
    pub mix: Mix,
    /// What each message of the mix is.
    pub names: Vec<Named>,
}

impl Targets {
    /// One target, or those of the options, on the server of `target`.
    pub fn of(
        options: &Requests,
        target: &Target,
        connections: Connections,
        seed: u64,
    ) -> Result<Self, Box<dyn Error>> {
        let mut bodies = Bodies { left: BODIES_MOST };
        let body = options.body.as_deref().map(|body| bodies.read(body)).transpose()?;
        let file = options.targets.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let in_file = file.lines().map(str::trim).zip(1..);
        let in_file = in_file.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let mut lines = Vec::new();
        for text in &options.target {
            lines.push(parse(text).map_err(|why| format!("--target {text:?}: {why}"))?);
        }
        for (text, number) in in_file {
            let file = options.targets.as_deref().unwrap_or(Path::new("")).display();
            lines.push(parse(text).map_err(|why| format!("{file}, line {number}: {why}"))?);
        }
        if lines.len() > TARGETS_MOST {
            return Err(format!("{} targets are more than {TARGETS_MOST}", lines.len()).into());
        }
        if lines.is_empty() {
            if options.targets.is_some() {
                return Err("the file of --targets has no target (write METHOD URL WEIGHT)".into());
            }
            let method = options.method.as_deref();
            lines.push(Line { method, url: &target.path, weight: 1.0, body: None });
        }
        let is_single = options.target.is_empty() && options.targets.is_none();
        let fields = &options.fields[..];
        let mut made = Vec::new();
        let mut names = Vec::new();
        let sum: f64 = lines.iter().map(|line| line.weight).sum();
        for line in lines {
            let own = line.body.map(|file| bodies.read(file)).transpose()?;
            let method =
                line.method.unwrap_or(match own.is_some() || is_single && body.is_some() {
                    true => "POST",
                    false => "GET",
                });
            if !is_method(method) {
                return Err(format!("{method:?} is no usable method (write GET or POST)").into());
            }
            let takes_body = is_single || matches!(method, "POST" | "PUT" | "PATCH");
            let body = own.as_deref().or(body.as_deref().filter(|_| takes_body));
            let path = &target.path_of(line.url)?;
            let host = &target.host;
            let message = Parts { method, path, host, fields, body, connections }.message();
            names.push(Named { name: format!("{method} {path}"), share: line.weight / sum });
            made.push((message, line.weight));
        }
        let mix = Mix::weighted(made, seed).ok_or("the weights are too large")?;
        Ok(Self { mix, names })
    }

    /// What is sent, in a few words.
    pub fn describe(&self) -> String {
        match &self.names[..] {
            [one] => one.name.clone(),
            several => format!("{} targets by their weights", several.len()),
        }
    }
}

/// The message of a replayed request.
pub fn replayed(
    method: &str,
    path: &str,
    host: &str,
    fields: &[Field],
    body: Option<&[u8]>,
    connections: Connections,
) -> Message {
    let body = body.filter(|_| matches!(method, "POST" | "PUT" | "PATCH"));
    Parts { method, path, host, fields, body, connections }.message()
}

/// The body of a replay's requests.
pub fn body(options: &Requests) -> Result<Option<Vec<u8>>, String> {
    let mut bodies = Bodies { left: BODIES_MOST };
    options.body.as_deref().map(|body| bodies.read(body)).transpose()
}

fn parse(text: &str) -> Result<Line<'_>, String> {
    const FORM: &str = "write [METHOD] URL [WEIGHT] [@BODYFILE], as POST /notes 2 @note.json";
    let mut words = text.split_whitespace().peekable();
    let is_url = |word: &str| word.starts_with('/') || word.contains("://");
    let method = words.next_if(|word| !is_url(word));
    let url = words.next().filter(|word| is_url(word)).ok_or(FORM)?;
    let weight = match words.next_if(|word| !word.starts_with('@')) {
        None => 1.0,
        Some(word) => word
            .parse()
            .ok()
            .filter(|&weight: &f64| weight > 0.0 && weight <= 1e9)
            .ok_or_else(|| format!("the weight {word} must be above 0, and at most 1e9"))?,
    };
    let body = words.next();
    match words.next() {
        Some(_) => Err(FORM.to_owned()),
        None => Ok(Line { method, url, weight, body }),
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let text = File::open(path).and_then(|file| {
        let mut text = String::new();
        file.take(FILE_MOST).read_to_string(&mut text)?;
        Ok(text)
    });
    text.map_err(|error| format!("cannot read {}: {error} (check the name)", path.display()))
}

/// Reads bodies, together up to a size.
struct Bodies {
    left: u64,
}

impl Bodies {
    /// A text, the content of a file, or standard input.
    fn read(&mut self, from: &str) -> Result<Vec<u8>, String> {
        let Some(name) = from.strip_prefix('@') else { return Ok(from.as_bytes().to_vec()) };
        let mut bytes = Vec::new();
        let read = match name {
            "-" => io::stdin().take(self.left + 1).read_to_end(&mut bytes),
            _ => File::open(name).and_then(|file| file.take(self.left + 1).read_to_end(&mut bytes)),
        };
        read.map_err(|error| format!("cannot read the body {name}: {error} (check the name)"))?;
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            let most = BODIES_MOST >> 20;
            format!("the body {name} is too large: all bodies may have {most} MiB together")
        })?;
        Ok(bytes)
    }
}
