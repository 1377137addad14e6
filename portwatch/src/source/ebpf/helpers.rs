//! The kernel's helpers that programs may call, as its type information tells: they are its functions.

use portwatch_common::settings::Settings;

use crate::source::btf::Function;

const TASK_STORAGE: &str = "bpf_task_storage_get";
/// Tracing programs have had task storage since Linux 5.13, as they have had this function; the other came
/// earlier, for others.
const TASK_STORAGE_OF_TRACING: &str = "bpf_for_each_map_elem";
/// Linux 5.11
const TYPED_TASK: &str = "bpf_get_current_task_btf";
/// Linux 5.15
const TASK_REGISTERS: &str = "bpf_task_pt_regs";

/// All that are looked for.
pub(super) const FUNCTIONS: [&str; 4] = [
    TASK_STORAGE,
    TASK_STORAGE_OF_TRACING,
    TYPED_TASK,
    TASK_REGISTERS,
];

/// Those that a kernel has. Something slower or bounded takes the place of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Helpers {
    /// Programs can keep something with a thread.
    pub(super) task_storage: bool,
    /// They get the current task with its type, and read it without a further helper.
    typed_task: bool,
    /// They are told where a caller's registers are.
    task_registers: bool,
}

impl Helpers {
    pub(super) const NONE: Self = Self {
        task_storage: false,
        typed_task: false,
        task_registers: false,
    };

    /// Those among a kernel's functions.
    pub(super) fn among(functions: &[Function]) -> Self {
        let has = |name| functions.iter().any(|function| function.name == name);
        let typed_task = has(TYPED_TASK);
        Self {
            task_storage: typed_task && has(TASK_STORAGE) && has(TASK_STORAGE_OF_TRACING),
            typed_task,
            task_registers: typed_task && has(TASK_REGISTERS),
        }
    }

    /// Tells programs of them.
    pub(super) fn tell(self, settings: &mut Settings) {
        settings.task_storage = self.task_storage.into();
        settings.typed_task = self.typed_task.into();
        settings.task_registers = self.task_registers.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::btf::KIND_FUNC;

    fn among(names: &[&'static str]) -> Helpers {
        let function = |&name| Function {
            name,
            id: 7,
            kind: KIND_FUNC,
            parameters: 0,
        };
        let functions: Vec<_> = names.iter().map(function).collect();
        Helpers::among(&functions)
    }

    #[test]
    fn storage_takes_both_functions_and_a_task() {
        assert!(among(&FUNCTIONS).task_storage);
        for without in [TASK_STORAGE, TASK_STORAGE_OF_TRACING, TYPED_TASK] {
            let rest: Vec<_> = FUNCTIONS
                .into_iter()
                .filter(|name| *name != without)
                .collect();
            assert!(!among(&rest).task_storage, "{without}");
        }
        assert_eq!(among(&[]), Helpers::NONE);
    }

    #[test]
    fn programs_are_told_what_there_is() {
        let mut settings = Settings::NONE;
        among(&[TYPED_TASK]).tell(&mut settings);
        let Settings {
            task_storage,
            typed_task,
            task_registers,
            ..
        } = settings;
        assert_eq!([task_storage, typed_task, task_registers], [0, 1, 0]);
    }
}
