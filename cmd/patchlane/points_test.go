package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// points are those of the four vendors' documents, numbered as they were read:
// how many each has, and those that come from a vendor's other pages.
func points() []string {
	var all []string
	for document, n := range []int{35, 24, 19, 15} {
		for i := range n {
			all = append(all, fmt.Sprintf("S%d.%d", document, i+1))
		}
	}
	return append(all, "S0.u1", "S0.u2", "S0.u3", "S0.u5")
}

// TestEveryPointHasItsTest holds the table of the README: every point of the
// documents stands in it once, and every test that it names is there.
func TestEveryPointHasItsTest(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (S\d\.[^|]*) \| [^|]+ \| ([^|]+) \|$`).FindAllStringSubmatch(string(readme), -1)
	tests := make(map[string][]string)
	named := make(map[string]bool)
	for _, row := range rows {
		for point := range strings.SplitSeq(row[1], ", ") {
			if tests[point] != nil {
				t.Errorf("%s stands twice in the table", point)
			}
			tests[point] = strings.Split(row[2], "; ")
			for _, name := range tests[point] {
				named[name] = true
			}
		}
	}
	all := points()
	for _, point := range all {
		if len(tests[point]) == 0 {
			t.Errorf("%s has no test", point)
		}
		delete(tests, point)
	}
	for point := range tests {
		t.Errorf("%s is no point of a document", point)
	}
	for name := range named {
		if dir, function, found := strings.Cut(name, " "); !found || !slices.Contains(testsIn(t, dir), function) {
			t.Errorf("there is no test %q", name)
		}
	}
}

// testsIn lists the tests of a package by their names.
func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range function.FindAllStringSubmatch(string(text), -1) {
			names = append(names, match[1])
		}
	}
	return names
}
