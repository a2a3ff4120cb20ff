//! The table of routes, from which requests are dispatched and the OpenAPI document is written.

use hyper::Method;

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Destroy,
    Exec,
    ExecStream,
    FileGet,
    FilePut,
    Health,
    Inspect,
    List,
    Metrics,
    OpenApi,
    SnapshotCreate,
    SnapshotDelete,
    SnapshotList,
    SnapshotRestore,
}

/// One method of one path.
pub(super) struct Route {
    pub(super) method: Method,
    /// Segments divided by `/`; `{sandbox_id}` stands for any one segment.
    pub(super) path: &'static str,
    pub(super) operation: Operation,
}

const fn get(path: &'static str, operation: Operation) -> Route {
    Route { method: Method::GET, path, operation }
}

const fn post(path: &'static str, operation: Operation) -> Route {
    Route { method: Method::POST, path, operation }
}

/// Every route of the service.
pub(super) static ROUTES: [Route; 15] = [
    post("/create", Operation::Create),
    post("/exec", Operation::Exec),
    post("/exec/stream", Operation::ExecStream),
    post("/destroy", Operation::Destroy),
    post("/snapshot/create", Operation::SnapshotCreate),
    post("/snapshot/restore", Operation::SnapshotRestore),
    get("/snapshot/list", Operation::SnapshotList),
    post("/snapshot/delete", Operation::SnapshotDelete),
    get("/sandboxes", Operation::List),
    get("/sandboxes/{sandbox_id}", Operation::Inspect),
    get("/sandboxes/{sandbox_id}/files", Operation::FileGet),
    Route { method: Method::PUT, path: "/sandboxes/{sandbox_id}/files", operation: Operation::FilePut },
    get("/healthz", Operation::Health),
    get("/metrics", Operation::Metrics),
    get("/openapi.json", Operation::OpenApi),
];

/// Where a request belongs.
pub(super) enum Found<'a> {
    /// To a route, with what stands in the path for `{sandbox_id}`, still encoded.
    Route(&'static Route, Option<&'a str>),
    /// To a path that knows only these methods.
    OtherMethods(String),
    /// Nowhere.
    Nothing,
}

/// Finds the route of a request. `HEAD` goes where `GET` goes.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let sought = if method == Method::HEAD { &Method::GET } else { method };
    let mut allowed = Vec::new();
    for route in &ROUTES {
        let Some(parameter) = matched(route.path, path) else { continue };
        if route.method == *sought {
            return Found::Route(route, parameter);
        }
        allowed.push(route.method.as_str());
        if route.method == Method::GET {
            allowed.push("HEAD");
        }
    }
    if allowed.is_empty() {
        return Found::Nothing;
    }
    allowed.push("OPTIONS");
    Found::OtherMethods(allowed.join(", "))
}

/// Whether the path is of this form, and what stands for the form's parameter.
fn matched<'a>(form: &str, path: &'a str) -> Option<Option<&'a str>> {
    let mut parameter = None;
    let (mut wanted, mut given) = (form.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parameter),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                parameter = Some(given)
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The operation, or the allowed methods, or nothing.
    fn found(method: &Method, path: &str) -> String {
        match find(method, path) {
            Found::Route(route, parameter) => format!("{:?} {}", route.operation, parameter.unwrap_or("-")),
            Found::OtherMethods(allowed) => allowed,
            Found::Nothing => String::new(),
        }
    }

    #[test]
    fn paths_lead_to_their_operation_and_nothing_else_does() {
        assert_eq!(found(&Method::PUT, "/sandboxes/a%20b/files"), "FilePut a%20b");
        assert_eq!(found(&Method::HEAD, "/healthz"), "Health -");
        for path in ["", "/", "/createx", "/create/", "//create", "/sandboxes/", "/sandboxes//files", "*"] {
            assert_eq!(found(&Method::POST, path), "", "{path}");
        }
    }

    #[test]
    fn a_known_path_says_which_methods_it_has() {
        assert_eq!(found(&Method::DELETE, "/create"), "POST, OPTIONS");
        assert_eq!(found(&Method::DELETE, "/sandboxes/x/files"), "GET, HEAD, PUT, OPTIONS");
    }

    #[test]
    fn no_two_routes_are_the_same() {
        for (at, route) in ROUTES.iter().enumerate() {
            let twins =
                ROUTES[..at].iter().filter(|other| other.method == route.method && other.path == route.path);
            assert_eq!(twins.count(), 0, "{}", route.path);
        }
    }
}
