package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
)

// page is a part of a list.
type page[O any] struct {
	metadata struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	}
	items []*O
}

// readPage reads a page object by object, as the API server writes it.
func readPage[O any](from io.Reader, decode func(func(any) error) (*O, error)) (p page[O], err error) {
	body := json.NewDecoder(from)
	if err := expect(body, '{'); err != nil {
		return p, err
	}
	for body.More() {
		name, err := body.Token()
		if err != nil {
			return p, err
		}
		switch name {
		case "metadata":
			err = body.Decode(&p.metadata)
		case "items":
			p.items, err = readItems(body, decode)
		default:
			err = body.Decode(new(json.RawMessage))
		}
		if err != nil {
			return p, err
		}
	}
	return p, expect(body, '}') // else it was cut off
}

func readItems[O any](body *json.Decoder, decode func(func(any) error) (*O, error)) (all []*O, err error) {
	begin, err := body.Token()
	if err != nil || begin == nil { // null: there are none
		return nil, err
	}
	if begin != json.Delim('[') {
		return nil, fmt.Errorf("items are %v", begin)
	}
	for body.More() {
		o, err := decode(body.Decode)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, expect(body, ']')
}

func expect(body *json.Decoder, delim json.Delim) error {
	got, err := body.Token()
	if err == nil && got != delim {
		err = fmt.Errorf("got %v in a list, want %v", got, delim)
	}
	return err
}
