//! What is done to the requests and answers of a level besides what its action does.

use super::action::{Action, Answer, Context};
use super::compress::compression;
use super::guard::Guard;
use super::headers::{request, response};
use super::level::Level;
use super::value::Known;

impl<'t> Context<'_, 't> {
    /// The action, with the header rules and the compression of its level, and who may enter.
    pub(super) fn treated(
        &mut self,
        mut action: Action,
        level: &Level<'t>,
        guard: Guard,
    ) -> Action {
        let (module, proxy_host) = match &action.answer {
            Answer::Forward { host, module, .. } => (Some(*module), Some(host.clone())),
            Answer::Redirect { .. } | Answer::Respond { .. } => (None, None),
        };
        let known = Known {
            server: self.server,
            level,
            proxy_host: proxy_host.as_deref(),
            has_user: guard.has_user,
        };
        let (mut keys, place) = (guard.keys, action.place.clone());
        let mut note = None;
        if let Some(module) = module {
            let passed = (module, &place);
            note = request(known, passed, &guard.copied, (&mut keys, self.site));
            compression(level, (&mut keys, self.site));
            self.whole_requests(level);
        }
        response(known, module, (&mut keys, self.site));
        action.keys = keys;
        match note {
            Some(note) => action.note(note),
            None => action,
        }
    }

    /// Refuses what nginx leaves out of the requests that it passes on.
    fn whole_requests(&mut self, level: &Level<'t>) {
        for name in ["proxy_pass_request_body", "proxy_pass_request_headers"] {
            for node in level.all(name) {
                let is_on = node.arg(0) == "on";
                let reason = "the door forwards method, headers and body as they came";
                self.site.settle(node, if is_on { Ok(()) } else { Err(reason.to_owned()) });
            }
        }
    }
}
