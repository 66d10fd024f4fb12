#!/bin/sh
# A coding agent in a few lines of shell, for `[agent] kind = "command"`: it shows an input line, takes one line at a time,
# works, and shows its input line again. Each line that rig types names a file with what is to be done.
#
#   [agent]
#   kind = "command"
#   command = "/path/to/shell-agent.sh"
#   ready_pattern = "^agent> "
#   idle_time = "1s"
#
# The work is done by the program that SHELL_AGENT names (put the variable into env_allow), which is given the file. Without
# one each issue is noted in the file NOTES.md, which is enough to see the whole loop.
set -u

say() { printf '%s\n' "$*"; }

report() { printf 'PHASE:%s\n' "$1" >"$PHASE_FILE"; }

work() {
    if [ -n "${SHELL_AGENT:-}" ]; then
        "$SHELL_AGENT" "$1"
    else
        printf 'Issue %s, for the %s. time: %s\n' "$RIG_ISSUE" "$(($(wc -l <NOTES.md 2>/dev/null || echo 0) + 1))" \
            "$(sed -n 's/^Title: //p' "$1" | head -n 1)" >>NOTES.md
    fi
}

push() {
    git add --all && git commit --quiet --message "Work on issue $RIG_ISSUE" && git push --quiet --set-upstream origin HEAD
}

turn() {
    if grep -q '^CI passed at' "$1"; then
        say "CI is green; the review is next."
        report awaiting_review
    elif work "$1" && push; then
        say "Worked and pushed."
        say "Noted the issue." >"$SUMMARY_FILE"
        report awaiting_ci
    else
        say "That did not work."
        printf 'PHASE:escalate\nReason: the work or the push failed; see the screen\n' >"$PHASE_FILE"
    fi
}

say "A shell agent at work on issue $RIG_ISSUE."
while printf 'agent> ' && IFS= read -r line; do
    file=${line#Read }
    file=${file%% and carry it out*}
    if [ -f "$file" ]; then turn "$file"; else say "There is no file in that."; fi
done
