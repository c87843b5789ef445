//! Which lines of an app's log a page shows: by source, by process and by text, all from its address.
use super::fields::Fields;
use super::problem::Problem;
use crate::logs::{is_of_process, parts};

#[derive(Clone, Debug, Default)]
pub(super) struct LogFilter {
    pub(super) source: String,
    pub(super) process: String,
    pub(super) search: String,
}

impl LogFilter {
    pub(super) fn of(query: &Fields) -> Result<Self, Problem> {
        let word = |name: &str| Ok::<_, Problem>(query.one(name)?.unwrap_or_default().trim().to_owned());
        Ok(Self { source: word("source")?, process: word("process")?, search: word("search")? })
    }

    pub(super) fn keeps(&self, line: &str) -> bool {
        let (_, source, text) = parts(line);
        (self.source.is_empty() || source.split('[').next() == Some(self.source.as_str()))
            && (self.process.is_empty() || is_of_process(source, &self.process))
            && (self.search.is_empty() || text.contains(&self.search))
    }

    /// As the end of an address, from its `?` on; empty when nothing is filtered.
    pub(super) fn query(&self) -> String {
        let fields = [("source", &self.source), ("process", &self.process), ("search", &self.search)];
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// The same as flags of `paas logs`.
    pub(super) fn flags(&self) -> String {
        let flags = [("-s", &self.source), ("-p", &self.process), ("--search", &self.search)];
        flags.into_iter().filter(|(_, value)| !value.is_empty()).fold(String::new(), |mut text, (flag, value)| {
            text.push(' ');
            text.push_str(flag);
            text.push(' ');
            text.push_str(&shlex::try_quote(value).unwrap_or_default());
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_reads_its_address_and_writes_it_again() {
        let fields = Fields::parse(b"source=app&process=web&search=it%27s+%26+%3Cb%3E");
        let filter = LogFilter::of(&fields).ok().unwrap();
        assert_eq!(filter.query(), "?source=app&process=web&search=it%27s+%26+%3Cb%3E");
        assert_eq!(filter.flags(), " -s app -p web --search \"it's & <b>\"");
        assert!(filter.keeps("T app[web.1]: x it's & <b>"));
        for other in ["T app[worker.1]: it's & <b>", "T router: it's & <b>", "T app[web.1]: its", "T app: it's & <b>"] {
            assert!(!filter.keeps(other), "{other}");
        }
        assert_eq!(LogFilter::default().query(), "");
        assert!(LogFilter::default().keeps("anything"));
    }
}
