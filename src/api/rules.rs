//! Rules over several fields that the API server enforces at apply time, as CEL in the schema, and that validation
//! repeats for objects that were stored before the rule was.

use serde_json::{Value, json};

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The rule as CEL, `self` being the object that carries it.
    pub cel: &'static str,
    /// What is wrong when it fails, and the mend.
    pub message: &'static str,
}

impl Rule {
    /// The entry of `x-kubernetes-validations`.
    pub(super) fn to_json(self) -> Value {
        json!({ "rule": self.cel, "message": self.message })
    }
}

/// On `Canary.spec`. Flagger's schema always wants an analysis; its code does not when analysis is skipped.
pub const ANALYSIS_OR_SKIP: Rule = Rule {
    cel: "has(self.analysis) || (has(self.skipAnalysis) && self.skipAnalysis)",
    message: "analysis is missing: add it, or set skipAnalysis: true to promote without one",
};

/// On `Canary.spec.analysis`: the `oneOf` of Flagger's schema, with `steps` added.
pub const ONE_STRATEGY: Rule = Rule {
    cel: "[has(self.stepWeight), has(self.stepWeights), has(self.steps), has(self.iterations)]\
          .filter(present, present).size() == 1",
    message: "analysis needs exactly one of stepWeight, stepWeights, steps and iterations: add one, or keep only one",
};

/// On `AlertProvider.spec`. Flagger refuses both together; here the Secret wins, as Flagger's documentation has it.
pub const ADDRESS_OR_SECRET: Rule = Rule {
    cel: "has(self.address) || has(self.secretRef)",
    message: "an address is missing: add address, or secretRef with a Secret that has the key address",
};
