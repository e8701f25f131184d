// Package plain makes text that others chose fit to be shown: names from the registry, details that
// engines sent, error texts that repeat what a server wrote. Whoever can write to a registry could
// else move the cursor of whoever looks, forge a line of a table, or change what is already on the
// screen. It is for all that prints for people; it is pure.
package plain
