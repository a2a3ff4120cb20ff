//! A request, checked once and sent again and again.

use crate::http::url::Url;
use crate::job::HttpSpec;

/// What HTTP says about a request, apart from its form on the wire.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) authority: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Checks what the job says; otherwise says what is wrong.
    pub(crate) fn new(url: &Url<'_>, spec: &HttpSpec) -> Result<Self, String> {
        if !is_token(&spec.method) || spec.method == "CONNECT" {
            return Err(format!("cannot send a request with the method {:?}; say GET or POST", spec.method));
        }
        let mut authority = url.authority.to_owned();
        let mut headers = Vec::new();
        for (name, value) in &spec.headers {
            let name = name.to_ascii_lowercase();
            if !is_token(&name) || value.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
                return Err(format!(
                    "cannot send the header field {name:?}: it has letters that none may have"
                ));
            }
            match name.as_str() {
                "host" => value.clone_into(&mut authority),
                "connection" | "content-length" | "transfer-encoding" | "upgrade" | "te" | "expect" => {
                    return Err(format!(
                        "cannot send the header field {name:?}: the generator decides about it"
                    ));
                }
                _ => headers.push((name, value.clone())),
            }
        }
        let body = spec.body.clone().unwrap_or_default().into_bytes();
        // A method with a meaning for a body says that it has none.
        if spec.body.is_some() || matches!(spec.method.as_str(), "POST" | "PUT" | "PATCH") {
            headers.push(("content-length".into(), body.len().to_string()));
        }
        if !headers.iter().any(|(name, _)| name == "user-agent") {
            headers.push(("user-agent".into(), concat!("virtmark-load/", env!("CARGO_PKG_VERSION")).into()));
        }
        Ok(Self { method: spec.method.clone(), authority, target: url.target.clone(), headers, body })
    }

    /// As HTTP/1.1 sends it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", self.method, self.target, self.authority);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::HttpVersion;

    fn request(method: &str, headers: &[(&str, &str)], body: Option<&str>) -> Result<String, String> {
        let spec = HttpSpec {
            url: "http://x:81/p?q".into(),
            version: HttpVersion::V1,
            method: method.into(),
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: body.map(Into::into),
            threads: None,
        };
        let request = Request::new(&Url::parse(&spec.url)?, &spec)?;
        Ok(String::from_utf8(request.to_bytes()).unwrap())
    }

    #[test]
    fn requests_are_complete() {
        let agent = concat!("virtmark-load/", env!("CARGO_PKG_VERSION"));
        let bytes = request("GET", &[("Accept", "*/*")], None).unwrap();
        assert_eq!(
            bytes,
            format!("GET /p?q HTTP/1.1\r\nhost: x:81\r\naccept: */*\r\nuser-agent: {agent}\r\n\r\n")
        );
        let bytes = request("POST", &[("Host", "y"), ("User-Agent", "z")], Some("body")).unwrap();
        assert_eq!(bytes, "POST /p?q HTTP/1.1\r\nhost: y\r\nuser-agent: z\r\ncontent-length: 4\r\n\r\nbody");
        assert!(request("POST", &[], None).unwrap().contains("content-length: 0\r\n"));
    }

    #[test]
    fn nothing_can_be_smuggled_in() {
        assert!(request("GET / HTTP/1.1\r\nX: y\r\n\r\nGET", &[], None).is_err());
        assert!(request("GET", &[("a b", "c")], None).is_err());
        assert!(request("GET", &[("a", "b\r\nc: d")], None).is_err());
        assert!(request("GET", &[("Content-Length", "5")], None).is_err());
    }
}
