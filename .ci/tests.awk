# Reads the output of `go test -v` and shows what people want to see of it: a
# line a package, and the whole output of what failed. Ends with 1 if a test
# failed or was skipped: a test that does not run shows nothing.

function forget() {
	split("", text); split("", bad); split("", order)
	n = failed = crashed = 0
	test = tail = ""
}

function keep(name, line) {
	if (!(name in text)) order[++n] = name
	text[name] = text[name] line "\n"
}

BEGIN { forget() }

/^=== (RUN|PAUSE|CONT|NAME) / { test = $3; next }

/^[ \t]*--- (PASS|FAIL|SKIP): / {
	if ($2 == "SKIP:") skipped[++skips] = $3
	if ($2 == "FAIL:") { bad[$3] = failed = 1; keep($3, $0) }
	next
}

/^ok  \t|^\?   \t/ {
	if ($0 !~ /no test files/) print
	fflush(); forget(); next
}

/^FAIL\t/ {
	if (crashed || !failed) printf "%s", tail
	else for (i = 1; i <= n; i++) if (order[i] in bad) printf "%s", text[order[i]]
	print
	fflush(); broken = 1; forget(); next
}

/^(PASS|FAIL)$/ { next }

/^(panic|fatal error): |^WARNING: DATA RACE|^goleak/ { crashed = 1 }

test == "" { print; next } # what did not build

{ keep(test, $0); tail = substr(tail $0 "\n", length(tail) > 60000 ? 20000 : 1) }

END {
	printf "%s", tail # what no line of a package came after
	for (i = 1; i <= skips; i++) print "skipped, which is not allowed: " skipped[i]
	exit broken || skips > 0
}
