package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// outputConfig chooses between people and programs.
type outputConfig struct {
	JSON bool `name:"json" help:"Print one JSON object, also on a terminal."`
}

// print writes an object as one line of JSON, or as a table when a person
// reads along. The JSON is the contract; the table may change.
func (o outputConfig) print(s streams, object any, t table) error {
	if s.people && !o.JSON {
		return t.write(s.out)
	}
	if err := json.NewEncoder(s.out).Encode(object); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// table is what people see.
type table struct {
	head []string
	rows [][]string
	// note is a sentence below.
	note string
}

// pairs makes a table of one object, a member a row.
func pairs(kv ...string) table {
	var t table
	for i := 0; i+1 < len(kv); i += 2 {
		t.rows = append(t.rows, kv[i:i+2])
	}
	return t
}

func (t table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	rows := t.rows
	if len(t.head) > 0 {
		rows = append([][]string{t.head}, rows...)
	}
	for _, row := range rows {
		if _, err := fmt.Fprintln(tw, strings.Join(row, "\t")); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if t.note == "" {
		return nil
	}
	if _, err := fmt.Fprintln(w, t.note); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// orDash shows an empty value.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
