//! The series of one machine, found again without looking through all of them.

use virtmark_timeseries::{KeyError, Series, SeriesKey};

/// Where each value goes that a machine tells.
#[derive(Debug)]
pub(crate) struct Book {
    /// Labels that all its series have.
    labels: Vec<(String, String)>,
    entries: Vec<Entry>,
    /// Where the next value belongs when it comes in the order of the last time.
    next: usize,
}

#[derive(Debug)]
struct Entry {
    name: String,
    labels: Vec<(String, String)>,
    place: Place,
}

/// What became of a series.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The store has no place for it.
    Refused,
    /// In the store.
    Taken(Series),
    /// Not asked for yet; its number in this book.
    Wanted(usize),
}

impl Book {
    pub(crate) fn new(labels: Vec<(String, String)>) -> Self {
        Self { labels, entries: Vec::new(), next: 0 }
    }

    /// The place of a series, which gets a page in the book if it has none.
    pub(crate) fn place<'a>(
        &mut self,
        name: &str,
        labels: impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Place {
        let (before, after) = self.entries.split_at(self.next.min(self.entries.len()));
        let is_it = |entry: &Entry| {
            entry.name == name
                && entry.labels.len() == labels.len()
                && entry
                    .labels
                    .iter()
                    .zip(labels.clone())
                    .all(|((key, value), label)| (key.as_str(), value.as_str()) == label)
        };
        let found = after.iter().position(is_it).map(|at| at + before.len());
        let at = match found.or_else(|| before.iter().position(is_it)) {
            Some(at) => at,
            None => {
                let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                let place = Place::Wanted(self.entries.len());
                self.entries.push(Entry { name: name.to_owned(), labels, place });
                self.entries.len() - 1
            }
        };
        self.next = at + 1;
        self.entries[at].place
    }

    /// The whole key of a series that is wanted.
    pub(crate) fn key(&self, number: usize) -> Result<SeriesKey, KeyError> {
        let entry = &self.entries[number];
        let labels = self.labels.iter().chain(&entry.labels);
        labels.fold(SeriesKey::new(&*entry.name), |key, (label, value)| key?.with(&**label, &**value))
    }

    /// Notes what became of a series that was wanted.
    pub(crate) fn settle(&mut self, number: usize, series: Option<Series>) {
        self.entries[number].place = series.map_or(Place::Refused, Place::Taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(book: &mut Book, name: &str, labels: &[(&str, &str)]) -> usize {
        match book.place(name, labels.iter().copied()) {
            Place::Wanted(number) => number,
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn series_are_found_in_any_order() {
        let mut book = Book::new(vec![("machine".into(), "m".into())]);
        let wanted: [(&str, &[(&str, &str)]); 4] =
            [("a", &[]), ("a", &[("mode", "x")]), ("a", &[("mode", "y")]), ("b", &[])];
        for round in 0..2 {
            for (expected, (name, labels)) in wanted.iter().enumerate() {
                assert_eq!(number(&mut book, name, labels), expected, "round {round}");
            }
        }
        for at in [2, 0, 3, 3, 1, 0] {
            assert_eq!(number(&mut book, wanted[at].0, wanted[at].1), at);
        }
        assert_eq!(book.key(2).unwrap().to_string(), r#"a{machine="m",mode="y"}"#);
        book.settle(2, None);
        assert!(matches!(book.place("a", [("mode", "y")].into_iter()), Place::Refused));
    }

    #[test]
    fn a_label_of_the_machine_cannot_be_taken_by_a_metric() {
        let mut book = Book::new(vec![("machine".into(), "m".into())]);
        let number = number(&mut book, "a", &[("machine", "other")]);
        assert!(matches!(book.key(number), Err(KeyError::LabelTwice { .. })));
    }
}
