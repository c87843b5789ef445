//! The stack images of Python: to run with, to build with, and those of the programs that install.

use super::manager::Kind;
use super::version::Python;
use super::{Pins, Suite, TABLE, VENV};
use crate::command;
use crate::stack::{self, StackImage};

/// Debian knows `python3` alone; Procfiles say `python`.
const PLAIN_NAME: &str = "ln -s /usr/bin/python3 /usr/local/bin/python";

pub(super) fn run(base: &StackImage, python: &Python) -> StackImage {
    let install = match python {
        Python::Debian => {
            let mut commands = stack::apt_install(&["python3"]);
            commands.push(PLAIN_NAME.to_owned());
            stack::run(&commands)
        }
        Python::Suite(suite) => stack::run(&from_suite(suite, python.minor())),
        Python::Uv(version) => stack::run(&by_uv(version)),
    };
    StackImage::new(
        &name(python),
        Some(base),
        &[
            "USER root".to_owned(),
            install,
            format!(
                "ENV PYTHONUNBUFFERED=1 VIRTUAL_ENV={VENV} PATH={VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            ),
            "USER app".to_owned(),
        ],
    )
}

fn name(python: &Python) -> String {
    match python {
        Python::Debian | Python::Suite(_) => format!("python{}", python.minor()),
        Python::Uv(version) => format!("python{version}"),
    }
}

/// Takes nothing from the other suite but Python: what it stands on is trixie's.
fn from_suite(suite: &Suite, minor: &str) -> Vec<String> {
    let Suite { name: suite, apart, .. } = suite;
    let mut commands: Vec<String> = [
        format!("printf 'deb http://deb.debian.org/debian {suite} main\\ndeb http://security.debian.org/debian-security {suite}-security main\\n' > /etc/apt/sources.list.d/{suite}.list"),
        format!("printf 'Package: *\\nPin: release n={suite}*\\nPin-Priority: 100\\n' > /etc/apt/preferences.d/{suite}"),
    ]
    .into();
    let package = format!("python{minor}");
    commands.extend(stack::apt_install(&[&package]));
    for package in apart {
        let folder = format!("/tmp/{package}");
        commands.push(format!("mkdir {folder}"));
        commands.push(format!("(cd {folder} && apt-get download {package}/{suite})"));
        commands.push(format!("dpkg-deb -x {folder}/*.deb /"));
        commands.push(format!("rm -r {folder}"));
    }
    commands.push(format!("ln -s /usr/bin/python{minor} /usr/local/bin/python3"));
    commands.push(format!("ln -s /usr/bin/python{minor} /usr/local/bin/python"));
    commands.push("python3 --version".to_owned());
    commands
}

/// uv comes from the package index with Debian's Python, and both leave again.
fn by_uv(version: &str) -> Vec<String> {
    let uv = TABLE.tools.uv.join(" ");
    // The builder takes what stands behind `paas: ` for its own words.
    let sorry = format!(
        "paas: Python {version} cannot be had: Debian has none, and uv does not reach where it is published; write {} in .python-version",
        TABLE.debian.version
    );
    let mut commands = stack::apt_install(&["python3", "python3-venv"]);
    commands.extend([
        "if [ -f /tmp/paas-meta/ca.crt ]; then export SSL_CERT_FILE=/tmp/paas-meta/ca.crt PIP_CERT=/tmp/paas-meta/ca.crt; fi".to_owned(),
        "python3 -m venv /tmp/uv".to_owned(),
        format!("/tmp/uv/bin/pip install --no-cache-dir {uv}"),
        format!(
            "{{ UV_PYTHON_INSTALL_DIR=/opt/python UV_PYTHON_BIN_DIR=/usr/local/bin /tmp/uv/bin/uv python install {version} || {{ echo '{sorry}' >&2; exit 1; }}; }}"
        ),
        "rm -rf /tmp/uv".to_owned(),
        "apt-get purge -y --auto-remove python3 python3-venv".to_owned(),
        "ln -s /opt/python/*/bin/python3 /usr/local/bin/python3".to_owned(),
        "ln -s /opt/python/*/bin/python3 /usr/local/bin/python".to_owned(),
        "python3 --version".to_owned(),
    ]);
    commands
}

/// What stands between an app's packages and the image they run on, best first: pip, then the manager.
pub(super) fn build(run: &StackImage, python: &Python, kind: Kind, pins: &Pins<'_>) -> Vec<StackImage> {
    let pip = with_pip(run, python);
    let tool = match kind {
        Kind::Requirements | Kind::Setup | Kind::Bare => return vec![pip],
        Kind::Uv | Kind::Project => ("uv", &TABLE.tools.uv),
        Kind::Poetry => ("poetry", &TABLE.tools.poetry),
        Kind::Pipenv => ("pipenv", &TABLE.tools.pipenv),
        Kind::Pdm => ("pdm", &TABLE.tools.pdm),
    };
    let (name, usual) = tool;
    let mut wanted = usual.clone();
    if let (Some(first), Some(version)) = (wanted.first_mut(), pins.get(name)) {
        *first = format!("{name}=={version}");
    }
    let with_tool = with_tool(&pip, python, (name, &wanted));
    vec![pip, with_tool]
}

/// pip lives in a place of its own, outside of the packages it installs.
fn with_pip(run: &StackImage, python: &Python) -> StackImage {
    let mut commands = match python {
        Python::Debian => [stack::apt_install(&["python3-venv"]), vec!["python3 -m venv /opt/pip".to_owned()]].concat(),
        Python::Uv(_) => vec!["python3 -m venv /opt/pip".to_owned()],
        // Its own package of venv wants a distutils that trixie has no more; pip's wheel can install itself.
        Python::Suite(_) => {
            let wheels = "/usr/share/python-wheels";
            let install = format!(
                "python3 $(echo {wheels}/pip-*.whl)/pip --python /opt/pip/bin/python install --no-index --find-links {wheels} pip"
            );
            let venv = "python3 -m venv --without-pip /opt/pip".to_owned();
            [stack::apt_install(&["python3-pip-whl"]), vec![venv, install]].concat()
        }
    };
    commands.extend(["ln -s /opt/pip/bin/pip /usr/local/bin/pip", "pip --version"].map(str::to_owned));
    StackImage::new(
        &format!("{}-build", name(python)),
        Some(run),
        &[
            "USER root".to_owned(),
            stack::run(&commands),
            "ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1".to_owned(),
        ],
    )
}

fn with_tool(pip: &StackImage, python: &Python, (tool, wanted): (&str, &Vec<String>)) -> StackImage {
    let version = wanted.first().and_then(|first| first.split_once("==")).map_or("", |(_, version)| version);
    let quoted: Vec<String> = wanted.iter().map(|one| command::quote(one)).collect();
    let commands = [
        "if [ -f /tmp/paas-meta/ca.crt ]; then export PIP_CERT=/tmp/paas-meta/ca.crt; fi".to_owned(),
        format!("python3 -m venv --without-pip /opt/{tool}"),
        format!("pip --python /opt/{tool}/bin/python install --no-cache-dir {}", quoted.join(" ")),
        format!("ln -s /opt/{tool}/bin/{tool} /usr/local/bin/{tool}"),
        format!("{tool} --version"),
    ];
    let settings = format!(
        "ENV UV_PROJECT_ENVIRONMENT={VENV} UV_PYTHON_DOWNLOADS=never UV_PYTHON={VENV}/bin/python UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 POETRY_NO_INTERACTION=1 POETRY_VIRTUALENVS_CREATE=false PIPENV_NOSPIN=1 PDM_CHECK_UPDATE=false PDM_NON_INTERACTIVE=1"
    );
    StackImage::new(
        &format!("{}-{tool}{version}", name(python)),
        Some(pip),
        &["USER root".to_owned(), stack::run(&commands), settings],
    )
}
