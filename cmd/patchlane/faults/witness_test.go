package faults

import (
	"bufio"
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
)

// span is one committed transaction of a lane: from when it held the lane's
// row to when it sent its COMMIT.
type span struct {
	lane       string
	begin, end int64
}

// overlaps reads what the processes of a stack witnessed (tasks/failpoint) and
// counts the transactions that were at work on a lane, and so on a contact of
// it, while another one was: rule 9.
func overlaps(file string) (spans, together int, first string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, "", err
	}
	defer func() { _ = f.Close() }()
	byLane := map[string][]span{}
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		// A process may have died while it wrote; its line is not whole then.
		words := strings.Fields(scan.Text())
		if len(words) != 3 {
			continue
		}
		begin, err1 := strconv.ParseInt(words[1], 10, 64)
		end, err2 := strconv.ParseInt(words[2], 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		byLane[words[0]] = append(byLane[words[0]], span{words[0], begin, end})
		spans++
	}
	for _, list := range byLane {
		slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.begin, b.begin) })
		latest := int64(0)
		for _, s := range list {
			if s.begin < latest {
				if together++; first == "" {
					first = "two transactions at once in lane " + s.lane
				}
			}
			latest = max(latest, s.end)
		}
	}
	return spans, together, first, scan.Err()
}
