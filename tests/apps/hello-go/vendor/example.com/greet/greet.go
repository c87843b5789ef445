// Package greet is a dependency that is in the repository.
package greet

import "strings"

// Line is a text as one line.
func Line(text string) string {
	return strings.TrimSpace(text) + "\n"
}
