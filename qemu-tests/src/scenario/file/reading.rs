//! From the text of a scenario file to a scenario that makes sense: every name in it leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use twinhull_config::{ConfigError, Part, Parts};

use super::document::{Action, Common, Head, Machine, Names, Service};
use super::names;
use super::sense::is_name;
use crate::scenario::stage::MEMORY;

/// A scenario that was written in a file.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its name: that of the file.
    pub name: String,
    /// What it shows, in one line.
    pub about: String,
    /// Paths in it count from here.
    pub(super) folder: PathBuf,
    pub(super) machines: BTreeMap<String, Machine>,
    /// In the order of the file.
    pub(super) services: Vec<(String, Service)>,
    pub(super) steps: Vec<Step>,
}

/// One step, with what was left out filled in.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Its line in the file.
    pub(super) line: usize,
    pub(super) about: Option<String>,
    /// Names of machines; empty for a step that has to do with none.
    pub(super) on: Vec<String>,
    pub(super) within: Option<u32>,
    pub(super) action: Action,
}

impl Written {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&twinhull_config::read_text(path)?, path)
    }

    /// Reads `text`, which stands in the file `path`.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut parts = Parts::parse(text, path)?;
        let mut lines = BTreeMap::new();
        let mut services = Vec::new();
        for (name, part) in parts.take_named("service")? {
            lines.insert(name.clone(), part.line());
            services.push((name, part.read()?));
        }
        let list = parts.take_list("step")?;
        let Head { about, machine } = parts.read_beside(&["service", "step"])?;
        let machine = completed(&machine, text, path)?;
        let check = Check {
            path,
            machines: &machine,
            services: &services,
        };
        check.machines_make_sense(text)?;
        for (name, service) in &services {
            check.service_makes_sense(name, service, lines.get(name).copied().unwrap_or(1))?;
        }
        let steps = list
            .into_iter()
            .map(|part| check.step(part))
            .collect::<Result<Vec<_>, _>>()?;
        if steps.is_empty() {
            return Err(check.wrong(1, "there is no [[step]]"));
        }
        check.names_lead_somewhere(text, &steps)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self {
            name,
            about,
            folder,
            machines: machine,
            services,
            steps,
        })
    }

    /// The memory of all its machines in MiB.
    pub fn memory_mib(&self) -> u32 {
        self.machines
            .values()
            .map(|machine| machine.memory.unwrap_or(MEMORY))
            .fold(0, u32::saturating_add)
    }

    /// The architectures of its machines; `None` is the one of the command line.
    pub fn archs(&self) -> impl Iterator<Item = Option<twinhull_layout::Arch>> {
        self.machines.values().map(|machine| machine.arch)
    }

    /// Whether a machine has the image of the command line.
    pub fn needs_an_image(&self) -> bool {
        self.machines
            .values()
            .any(|machine| machine.image.is_none() && machine.release.is_none())
    }

    /// How often it boots a machine: the long ones are begun first.
    pub fn boots(&self) -> u32 {
        let boots = self.steps.iter().filter(|step| {
            matches!(
                step.action,
                Action::Boot {} | Action::WaitForReboot {} | Action::Reset {}
            )
        });
        boots.fold(0, |sum, step| {
            sum.saturating_add(u32::try_from(step.on.len()).unwrap_or(u32::MAX))
        })
    }
}

/// The machines, each with what it has from the one that it is `like`.
fn completed(
    machines: &BTreeMap<String, Machine>,
    text: &str,
    path: &Path,
) -> Result<BTreeMap<String, Machine>, ConfigError> {
    let check = Check {
        path,
        machines,
        services: &[],
    };
    let known: Vec<String> = machines.keys().cloned().collect();
    let mut all = BTreeMap::new();
    for (name, machine) in machines {
        let Some(model) = &machine.like else {
            all.insert(name.clone(), machine.clone());
            continue;
        };
        let line = heading(name, text);
        let other = machines
            .get(model)
            .ok_or_else(|| check.unknown(line, "machine", model, &known))?;
        if other.like.is_some() {
            return Err(check.wrong(line, format!("`{model}` is itself like another machine: name that one")));
        }
        all.insert(name.clone(), machine.clone().completed_by(other));
    }
    Ok(all)
}

/// The line of `text` with the heading of the machine `name`.
fn heading(name: &str, text: &str) -> usize {
    let heading = format!("machine.{name}");
    let at = text.lines().position(|line| line.contains(&heading));
    at.map_or(1, |at| at + 1)
}

impl Action {
    /// Whether it is done to machines.
    pub(super) fn is_on_machines(&self) -> bool {
        !matches!(
            self,
            Self::Publish { .. }
                | Self::Expect { .. }
                | Self::Stop { .. }
                | Self::Start { .. }
                | Self::Request { .. }
                | Self::ExpectAnswers { .. }
        )
    }
}

struct Check<'a> {
    path: &'a Path,
    machines: &'a BTreeMap<String, Machine>,
    services: &'a [(String, Service)],
}

impl Check<'_> {
    fn wrong(&self, line: usize, message: impl Into<String>) -> ConfigError {
        ConfigError::Invalid {
            path: self.path.to_owned(),
            line,
            message: message.into(),
        }
    }

    fn unknown(&self, line: usize, what: &str, name: &str, known: &[String]) -> ConfigError {
        let hint = match twinhull_config::nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is none".to_owned(),
            None => format!("there are: {}", known.join(", ")),
        };
        self.wrong(line, format!("no {what} is called `{name}`; {hint}"))
    }

    fn machines_make_sense(&self, text: &str) -> Result<(), ConfigError> {
        let taken: BTreeSet<_> = self.services.iter().map(|(name, _)| name).collect();
        for (name, machine) in self.machines {
            let line = heading(name, text);
            if !is_name(name) {
                return Err(self.wrong(
                    line,
                    format!("`{name}` cannot name a machine: small letters, digits and `-` can"),
                ));
            }
            if taken.contains(name) {
                return Err(self.wrong(line, format!("`{name}` is a machine and a service")));
            }
            if let Some(wrong) = machine.nonsense() {
                return Err(self.wrong(line, format!("machine {name} {wrong}")));
            }
        }
        if self.machines.is_empty() {
            return Err(self.wrong(1, "there is no [machine.NAME]"));
        }
        Ok(())
    }

    fn service_makes_sense(&self, name: &str, service: &Service, line: usize) -> Result<(), ConfigError> {
        if !is_name(name) {
            return Err(self.wrong(
                line,
                format!("`{name}` cannot name a service: small letters, digits and `-` can"),
            ));
        }
        if let Some(wrong) = service.nonsense() {
            return Err(self.wrong(line, wrong));
        }
        match service {
            Service::Lock { etcd: Some(etcd), .. } => {
                self.has_service(line, etcd, "service of kind `etcd`", |service| {
                    matches!(service, Service::Etcd {})
                })
            }
            _ => Ok(()),
        }
    }

    fn step(&self, mut part: Part<'_>) -> Result<Step, ConfigError> {
        let line = part.line();
        let Common { about, on, within } = Common {
            about: part.take("about")?,
            on: part.take("on")?,
            within: part.take("within")?,
        };
        let action: Action = part.read()?;
        let on = match on {
            None if action.is_on_machines() => self.machines.keys().cloned().collect(),
            None => Vec::new(),
            Some(_) if !action.is_on_machines() => {
                return Err(self.wrong(line, "this step has to do with no machine: leave `on` out"));
            }
            Some(Names::One(name)) => vec![name],
            Some(Names::Several(names)) if names.is_empty() => {
                return Err(self.wrong(line, "`on` names no machine"));
            }
            Some(Names::Several(names)) => names,
        };
        let machines: Vec<String> = self.machines.keys().cloned().collect();
        for name in &on {
            if !self.machines.contains_key(name) {
                return Err(self.unknown(line, "machine", name, &machines));
            }
        }
        if let Some(wrong) = action.nonsense() {
            return Err(self.wrong(line, wrong));
        }
        self.action_leads_somewhere(line, &on, &action)?;
        Ok(Step {
            line,
            about,
            on,
            within,
            action,
        })
    }

    /// The services and machines of `action`, which is done to the machines `on`, are such as it needs.
    fn action_leads_somewhere(&self, line: usize, on: &[String], action: &Action) -> Result<(), ConfigError> {
        match action {
            Action::Stop { service } | Action::Start { service } | Action::Request { service, .. } => {
                self.has_service(line, service, "service", |_| true)
            }
            Action::ExpectAnswers { service, .. } => {
                let kind = |service: &Service| matches!(service, Service::Client { .. });
                self.has_service(line, service, "service of kind `client`", kind)
            }
            Action::Publish {
                service,
                release,
                description,
                base,
                product,
            } => {
                if release.is_some() == description.is_some() {
                    return Err(self.wrong(line, "say which release: `release` or `description`"));
                }
                if product.is_some() && release.is_none() && base.is_none() {
                    return Err(self.wrong(line, "`product` is that of `release` or `base`: there is neither"));
                }
                let kind = |service: &Service| matches!(service, Service::Releases { .. });
                match service {
                    Some(service) => self.has_service(line, service, "service of kind `releases`", kind),
                    None if self.services.iter().filter(|(_, service)| kind(service)).count() == 1 => Ok(()),
                    None => Err(self.wrong(line, "say which `service`: there is not exactly one of kind `releases`")),
                }
            }
            Action::Picture { .. } => {
                let blind = |name: &&String| {
                    self.machines
                        .get(*name)
                        .is_none_or(|machine| machine.display != Some(true))
                };
                match on.iter().find(blind) {
                    Some(name) => Err(self.wrong(line, format!("machine {name} has no `display`"))),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn has_service(
        &self,
        line: usize,
        name: &str,
        what: &str,
        kind: impl Fn(&Service) -> bool,
    ) -> Result<(), ConfigError> {
        let fitting = self.services.iter().filter(|(_, service)| kind(service));
        let known: Vec<String> = fitting.map(|(name, _)| name.clone()).collect();
        if known.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(self.unknown(line, what, name, &known))
    }

    /// Every `${NAME}` is one that something in the file makes, and what a step keeps is used by that step or later.
    fn names_lead_somewhere(&self, text: &str, steps: &[Step]) -> Result<(), ConfigError> {
        let mut known = ["key", "work", "efi", "EFI"].map(ToOwned::to_owned).to_vec();
        for (service, _) in self.services {
            known.extend(["port", "url", "folder"].map(|what| format!("{service}.{what}")));
        }
        for (name, machine) in self.machines {
            known.extend(machine.ports.keys().map(|port| format!("{name}.{port}")));
        }
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            if let Action::Run { save: Some(save), .. } = &step.action {
                for machine in &step.on {
                    kept.entry(format!("{machine}.{save}")).or_insert(number);
                }
            }
        }
        let heads_step = |line: &str| line.trim_start().starts_with("[[step]]");
        // Steps that are written otherwise than with headings have no lines of their own.
        let headed = text.lines().filter(|line| heads_step(line)).count() == steps.len();
        // The number of the step in which a line stands; machines and services are made before all of them.
        let mut present = None;
        let mut begun = 0;
        for (at, line) in text.lines().enumerate() {
            if heads_step(line) {
                present = Some(begun);
                begun += 1;
            } else if line.starts_with("[machine.") || line.starts_with("[service.") {
                present = None;
            }
            // A comment may speak of names without meaning one.
            let content = if line.trim_start().starts_with("# ") { "" } else { line };
            for name in names::used(content).filter(|&name| !known.iter().any(|known| known == name)) {
                match kept.get(name) {
                    Some(number) if !headed || present.is_some_and(|present| *number <= present) => {}
                    Some(_) => {
                        let line = at + 1;
                        return Err(self.wrong(line, format!("${{{name}}} is used before a step keeps it")));
                    }
                    None => {
                        let known: Vec<_> = known.iter().chain(kept.keys()).cloned().collect();
                        return Err(self.unknown(at + 1, "text", &format!("${{{name}}}"), &in_marks(&known)));
                    }
                }
            }
        }
        Ok(())
    }
}

fn in_marks(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("${{{name}}}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Written, String> {
        Written::parse(text, Path::new("boots.toml")).map_err(|error| error.to_string())
    }

    const BEGIN: &str = "about = \"x\"\n[machine.host]\nports = { web = 80 }\n[service.lock]\nkind = \"lock\"\n";

    fn error(more: &str) -> String {
        parse(&format!("{BEGIN}{more}")).unwrap_err()
    }

    #[test]
    fn a_step_without_machines_is_on_all_of_them() {
        let written =
            parse("about = \"x\"\n[machine.a]\n[machine.b]\nmemory = 512\n[[step]]\ndo = \"boot\"\n").unwrap();
        assert_eq!(written.steps[0].on, ["a", "b"]);
        assert_eq!(
            (written.name.as_str(), written.memory_mib(), written.boots()),
            ("boots", 2048, 2)
        );
        assert!(written.needs_an_image());
    }

    #[test]
    fn a_machine_can_be_like_another() {
        let one = "about = \"x\"\n[machine.one]\nmemory = 512\ntpm = true\nimage = \"a.raw\"\nfiles.\"/a\" = \"1\"\nfiles.\"/b\" = \"1\"\n";
        let step = "[[step]]\ndo = \"boot\"\n";
        let two = "[machine.two]\nlike = \"one\"\nrelease = \"1.0.0\"\ntpm = false\nfiles.\"/b\" = \"2\"\n";
        let written = parse(&format!("{one}{two}{step}")).unwrap();
        let two = &written.machines["two"];
        assert_eq!((two.memory, two.tpm, &two.image), (Some(512), Some(false), &None));
        let texts: Vec<_> = two
            .files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        assert_eq!(texts, [("/a", "1"), ("/b", "2")]);
        assert_eq!(written.machines["one"].files["/b"], "1");
        assert_eq!(
            parse(&format!("{one}[machine.two]\nlike = \"on\"\n{step}")).unwrap_err(),
            "boots.toml:8: no machine is called `on`; did you mean `one`?"
        );
        let chain = "[machine.two]\nlike = \"one\"\n[machine.six]\nlike = \"two\"\n";
        assert_eq!(
            parse(&format!("{one}{chain}{step}")).unwrap_err(),
            "boots.toml:10: `two` is itself like another machine: name that one"
        );
    }

    #[test]
    fn a_product_is_that_of_a_release() {
        let step = "[[step]]\ndo = \"boot\"\n";
        let of = |machine: &str| {
            parse(&format!(
                "about = \"x\"\n[machine.one]\nproduct = \"a-b\"\n{machine}{step}"
            ))
        };
        assert!(of("release = \"1.0.0\"\n").is_ok());
        assert_eq!(
            of("memory = 512\n").unwrap_err(),
            "boots.toml:2: machine one has a `product` and no `release` of it"
        );
        let publish = |keys: &str| {
            let services = "[service.releases]\nkind = \"releases\"\n";
            parse(&format!(
                "about = \"x\"\n[machine.one]\n{services}{step}[[step]]\ndo = \"publish\"\nproduct = \"a-b\"\n{keys}"
            ))
        };
        assert!(publish("release = \"1.0.0\"\n").is_ok());
        assert!(publish("description = \"a.json\"\nbase = \"1.0.0\"\n").is_ok());
        assert_eq!(
            publish("description = \"a.json\"\n").unwrap_err(),
            "boots.toml:7: `product` is that of `release` or `base`: there is neither"
        );
    }

    #[test]
    fn what_leads_nowhere_is_found_on_its_line() {
        assert_eq!(
            error("[[step]]\ndo = \"boot\"\non = \"hots\"\n"),
            "boots.toml:6: no machine is called `hots`; did you mean `host`?"
        );
        assert_eq!(
            error("[[step]]\ndo = \"stop\"\nservice = \"lok\"\n"),
            "boots.toml:6: no service is called `lok`; did you mean `lock`?"
        );
        assert_eq!(
            error("[[step]]\ndo = \"run\"\ncommand = \"curl ${lock.prot}\"\n"),
            "boots.toml:8: no text is called `${lock.prot}`; did you mean `${lock.port}`?"
        );
        assert_eq!(
            error("[[step]]\ndo = \"expect-answers\"\nservice = \"lock\"\n"),
            "boots.toml:6: no service of kind `client` is called `lock`; there is none"
        );
    }

    #[test]
    fn unknown_keys_are_found_with_the_nearest() {
        assert_eq!(
            error("[[step]]\ndo = \"run\"\ncommand = \"true\"\nwithn = 3\n"),
            "boots.toml:9: unknown key `withn`; did you mean `within`?"
        );
        assert_eq!(
            error("[machine.other]\nmemry = 5\n"),
            "boots.toml:7: unknown key `memry`; did you mean `memory`?"
        );
    }

    #[test]
    fn a_group_is_slots_or_rules() {
        let with = |groups: &str| format!("[service.locks]\nkind = \"lock\"\ngroups = {groups}\n");
        for good in ["{ default = 1 }", "{ default = { slots = 2, zones = [\"a\"] } }"] {
            parse(&format!("{BEGIN}{}[[step]]\ndo = \"boot\"\n", with(good))).unwrap();
        }
        let error = error(&with("{ default = \"one\" }"));
        assert!(
            error.contains("boots.toml:") && error.contains("a number of slots"),
            "{error}"
        );
    }

    #[test]
    fn steps_that_could_not_fail_or_not_be_done_are_refused() {
        for (step, why) in [
            ("do = \"run\"\ncommand = \"x\"\non = []", "`on` names no machine"),
            (
                "do = \"run\"\ncommand = \"x\"\nexpect.json_lacks = [\"a/b\"]",
                "begins with `/`",
            ),
            (
                "do = \"run\"\ncommand = \"x\"\nexpect.json = { \"a\" = 1 }",
                "begins with `/`",
            ),
            (
                "do = \"run\"\ncommand = \"x\"\nexpect.contains = [\"\"]",
                "contains the empty one",
            ),
            ("do = \"expect\"\ntext = \"x\"\nexpect = {}", "expects nothing"),
            ("do = \"expect\"\ntext = \"x\"\nexpect.status = 1", "has no `status`"),
            ("do = \"expect-disk\"", "looks at nothing"),
            ("do = \"expect-disk\"\nintact = [\"c\"]", "`c` is no slot"),
            ("do = \"corrupt\"\nbytes = 0", "`bytes` must be"),
            ("do = \"corrupt\"\nplace = \"esp\"\nfile = \"/a\"", "one of them"),
            ("do = \"corrupt\"\nfile = \"/a\"\noffset = -1", "from its beginning"),
            ("do = \"grow-disk\"\nmib = 17592186044416", "`mib` must be"),
            ("do = \"grow-disk\"\nmib = 0", "`mib` must be"),
            ("do = \"set-clock\"\nto = \"tomorrow\"", "`to` is no time"),
            ("do = \"picture\"\nname = \"up\"", "has no `display`"),
            (
                "do = \"run\"\ncommand = \"${host.id}\"\n[[step]]\ndo = \"run\"\ncommand = \"id\"\nsave = \"id\"",
                "before a step keeps it",
            ),
        ] {
            let error = error(&format!("[[step]]\n{step}\n"));
            assert!(error.contains(why), "{step}: {error}");
        }
    }

    #[test]
    fn machines_and_services_that_cannot_be_are_refused() {
        let step = "[[step]]\ndo = \"boot\"\n";
        for (part, why) in [
            ("[machine.other]\nports = { web = 0 }", "port 0"),
            ("[machine.other]\ndisk = 17592186044416", "16 TiB"),
            ("[machine.other]\nfiles.\"etc/a\" = \"1\"", "not absolute"),
            ("[machine.other]\nfiles.\"/etc/a b\" = \"1\"", "white space"),
            ("[machine.other]\nfiles.\"/etc/a%b\" = \"1\"", "white space"),
            ("[service.x]\nkind = \"command\"\ncommand = []", "no program"),
            (
                "[service.x]\nkind = \"command\"\ncommand = [\"x\"]\nfiles.\"../x\" = \"\"",
                "no plain name",
            ),
            (
                "[machine.other]\ncredentials.a = \"${host.id}\"\n[[step]]\ndo = \"run\"\ncommand = \"id\"\non = \"host\"\nsave = \"id\"",
                "before a step keeps it",
            ),
        ] {
            let error = error(&format!("{part}\n{step}"));
            assert!(error.contains(why), "{part}: {error}");
        }
    }

    #[test]
    fn a_list_of_another_name_is_answered_with_all_that_a_file_may_have() {
        assert_eq!(
            error("[[steps]]\ndo = \"boot\"\n"),
            "boots.toml:6: unknown key `steps`; did you mean `step`?"
        );
        assert_eq!(
            error("[[step]]\ndo = \"boto\"\n"),
            "boots.toml:7: unknown word `boto`; did you mean `boot`?"
        );
    }

    #[test]
    fn kept_texts_and_ports_are_known() {
        let text = "[[step]]\ndo = \"run\"\ncommand = \"id\"\nsave = \"id\"\n[[step]]\ndo = \"expect\"\ntext = \"${host.id} \
                    ${host.web} $${HOME}\"\nexpect.contains = [\"0\"]\n";
        assert_eq!(parse(&format!("{BEGIN}{text}")).unwrap().steps.len(), 2);
    }

    #[test]
    fn a_publish_needs_a_repository() {
        assert_eq!(
            error("[[step]]\ndo = \"publish\"\nrelease = \"1.0.0\"\n"),
            "boots.toml:6: say which `service`: there is not exactly one of kind `releases`"
        );
    }
}
