package parse

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/dynmesh/dynmesh/internal/text"
)

// EndpointNames takes a JSON array of names, as Dynamo does.
func EndpointNames(s string) (names []string, err error) {
	if json.Unmarshal([]byte(s), &names) != nil {
		return nil, errors.New(`want a JSON array of endpoint names, such as ["generate"]`)
	}
	return names, nil
}

// maxJSONValue is how much is repeated of what encoding/json says of a value: what it is, and a
// number.
const maxJSONValue = 40

// JSONError words an error of encoding/json for whoever has written the document: theirs names
// types of this program's.
func JSONError(err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		if said := strings.TrimPrefix(err.Error(), "json: "); said != err.Error() {
			return errors.New(said)
		}
		return err
	}
	subject := wrong.Field
	if subject == "" {
		subject = "it"
	}
	return fmt.Errorf("%s is %s: want %s", subject, article(text.Line(wrong.Value, maxJSONValue)), jsonName(wrong.Type))
}

// jsonName is what JSON has for a type.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonName(t.Elem())
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, 0 or more"
	case reflect.Bool:
		return "true or false"
	}
	return "a string"
}

func article(noun string) string {
	if strings.HasPrefix(noun, "a") || strings.HasPrefix(noun, "o") {
		return "an " + noun
	}
	return "a " + noun
}
