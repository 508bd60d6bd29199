package contact

import "strconv"

const (
	// maxDigits is how many significant digits a number may have: jsonb could
	// keep more, but no client means them.
	maxDigits = 400
	// maxExponent and minExponent bound a number written 0.d × 10^e to what a
	// 64-bit float can hold.
	maxExponent, minExponent = 309, -323
	// plainDigits is the longest number that is padded with zeros rather than
	// written with an exponent.
	plainDigits = 21
)

// decimal is the value ±0.digits × 10^exp; no digits: zero.
type decimal struct {
	negative bool
	digits   []byte
	exp      int
}

// number appends the next number, spelled by its value: 1.0 and 1e0 are 1.
func (c *canon) number(dst []byte) ([]byte, error) {
	start := c.pos
	if c.peek() == '-' {
		c.pos++
	}
	whole := c.pos
	if !c.digits() || (c.src[whole] == '0' && c.pos-whole > 1) {
		return dst, errJSONSyntax
	}
	end := c.pos
	if b := c.peek(); b != '.' && b|0x20 != 'e' && end-whole <= plainDigits && c.src[whole] != '0' {
		return append(dst, c.src[start:end]...), nil
	}
	frac := c.src[end:end]
	if c.peek() == '.' {
		c.pos++
		if from := c.pos; c.digits() {
			frac = c.src[from:c.pos]
		} else {
			return dst, errJSONSyntax
		}
	}
	exp, ok := c.exponent()
	if !ok {
		return dst, errJSONSyntax
	}
	d := newDecimal(c.src[whole:end], frac, exp)
	d.negative = whole > start
	if !d.fits() {
		return dst, errJSONNumber
	}
	return d.append(dst), nil
}

// digits skips digits and tells whether there was one.
func (c *canon) digits() bool {
	from := c.pos
	for c.pos < len(c.src) && '0' <= c.src[c.pos] && c.src[c.pos] <= '9' {
		c.pos++
	}
	return c.pos > from
}

// exponent reads an exponent, if there is one; a huge one is clamped to a
// value that no number of digits brings back into range.
func (c *canon) exponent() (int, bool) {
	if c.peek()|0x20 != 'e' {
		return 0, true
	}
	c.pos++
	negative := c.peek() == '-'
	if negative || c.peek() == '+' {
		c.pos++
	}
	from := c.pos
	if !c.digits() {
		return 0, false
	}
	const huge = 1 << 30
	exp := 0
	for _, b := range c.src[from:c.pos] {
		exp = min(exp*10+int(b-'0'), huge)
	}
	if negative {
		exp = -exp
	}
	return exp, true
}

func newDecimal(whole, frac []byte, exp int) decimal {
	digits := make([]byte, 0, len(whole)+len(frac))
	digits = append(append(digits, whole...), frac...)
	exp += len(whole)
	for len(digits) > 0 && digits[0] == '0' {
		digits = digits[1:]
		exp--
	}
	for len(digits) > 0 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return decimal{digits: digits, exp: exp}
}

// fits tells whether a 64-bit float could hold the number's magnitude.
func (d decimal) fits() bool {
	if len(d.digits) == 0 {
		return true
	}
	if len(d.digits) > maxDigits || d.exp > maxExponent || d.exp < minExponent {
		return false
	}
	if d.exp < maxExponent {
		return true
	}
	_, err := strconv.ParseFloat("0."+string(d.digits)+"e"+strconv.Itoa(d.exp), 64)
	return err == nil
}

func (d decimal) append(dst []byte) []byte {
	n := len(d.digits)
	if n == 0 {
		return append(dst, '0')
	}
	if d.negative {
		dst = append(dst, '-')
	}
	switch {
	case d.exp > 0 && n <= d.exp && d.exp <= plainDigits:
		return appendZeros(append(dst, d.digits...), d.exp-n)
	case d.exp > 0 && n >= d.exp:
		dst = append(dst, d.digits[:d.exp]...)
		if n == d.exp {
			return dst
		}
		return append(append(dst, '.'), d.digits[d.exp:]...)
	case d.exp <= 0 && d.exp > -6:
		return append(appendZeros(append(dst, "0."...), -d.exp), d.digits...)
	}
	dst = append(dst, d.digits[0])
	if n > 1 {
		dst = append(append(dst, '.'), d.digits[1:]...)
	}
	return strconv.AppendInt(append(dst, 'e'), int64(d.exp-1), 10)
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}
