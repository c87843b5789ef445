//! How an instance of the fake engine behaves: written in the image's name.
use crate::domain::ImageId;
use crate::domain::failure::Exit;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Any other name: answers 200 with `v3/web.1`.
    Answers,
    /// `crash`, `exit0`, `exit:N`, `oom`: ends at once.
    Crash(Exit),
    /// `slow:500`: listens only after so many milliseconds.
    Slow(Duration),
    /// `sick`: answers 500.
    Sick,
    /// `never`: runs and never listens.
    Never,
    /// `loopback`: runs, and nobody outside can reach it.
    Loopback,
    /// `dies:500`: answers, and exits with status 1 after so many milliseconds.
    Dies(Duration),
    /// `missing`: the engine has no such image.
    Missing,
}

impl Behaviour {
    /// What stands after a `#` tells images of the same behaviour apart: `slow:500#b12`.
    pub fn of(image: &ImageId) -> Self {
        let (name, number) = match image.as_str().split('#').next().unwrap_or_default().split_once(':') {
            Some((name, number)) => (name, number.parse().ok()),
            None => (image.as_str().split('#').next().unwrap_or_default(), None),
        };
        let span = number.map(|ms: u32| Duration::from_millis(ms.into()));
        match (name, span) {
            ("crash", _) => Self::Crash(Exit::Status(1)),
            ("exit0", _) => Self::Crash(Exit::Status(0)),
            ("exit", Some(_)) => Self::Crash(Exit::Status(number.and_then(|n| n.try_into().ok()).unwrap_or(1))),
            ("oom", _) => Self::Crash(Exit::OutOfMemory),
            ("slow", Some(span)) => Self::Slow(span),
            ("sick", _) => Self::Sick,
            ("never", _) => Self::Never,
            ("loopback", _) => Self::Loopback,
            ("dies", Some(span)) => Self::Dies(span),
            ("missing", _) => Self::Missing,
            _any_other_name => Self::Answers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_name_says_how_it_behaves() {
        let of = |name: &str| Behaviour::of(&ImageId::new(name));
        assert_eq!(of("slow:500"), Behaviour::Slow(Duration::from_millis(500)));
        assert_eq!(of("slow:500#b2"), Behaviour::Slow(Duration::from_millis(500)));
        assert_eq!(of("crash#b2"), Behaviour::Crash(Exit::Status(1)));
        assert_eq!(of("exit:127"), Behaviour::Crash(Exit::Status(127)));
        assert_eq!(of("sha256:ab"), Behaviour::Answers);
        assert_eq!(of("slow"), Behaviour::Answers);
    }
}
