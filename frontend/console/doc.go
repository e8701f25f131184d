// Package console shows people at a terminal what a frontend knows: as tables ([Status]), as the
// story of one instance ([Explain]), and live ([Live]). It is for commands.
//
// Rendering is pure: the same snapshot at the same moment gives the same text. Texts that others
// chose (names from the registry, details that engines sent) go through package plain, so that
// nobody who can write to a registry can write to an operator's terminal.
package console
