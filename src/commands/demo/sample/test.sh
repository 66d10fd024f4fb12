#!/bin/sh
# Runs every test in tests/: the first line is a command, the rest is what it must print.
cd "$(dirname "$0")" || exit 1
passed=0
failed=0
for test in tests/*.test; do
    actual=$(sh -c "$(head -n 1 "$test")" 2>&1)
    expected=$(tail -n +2 "$test")
    if [ "$actual" = "$expected" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '\033[31mFAILED\033[0m %s\n  expected: %s\n  actual:   %s\n' "$test" "$expected" "$actual"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
