package kind

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Infer is POST /v2/models/{model}/infer of KServe's protocol, which Triton speaks. Its body
// depends on the model: see [InferBody].
func Infer() Kind {
	return Kind{Name: "infer", Path: "/v2/models/{model}/infer", Fields: []string{"inputs"}, Answer: wantList("outputs")}
}

// maxElements bounds the tensors of a canary, all together: a model of fixed shape may want a whole
// picture.
const maxElements = 1 << 20

// InferBody makes the smallest request from a model's metadata (GET /v2/models/{model}): each input
// is 0, or a text, and dimensions that may be any are 1.
func InferBody(metadata []byte) (string, error) {
	var model struct {
		Inputs []struct {
			Name     string `json:"name"`
			Datatype string `json:"datatype"`
			Shape    []int  `json:"shape"`
		} `json:"inputs"`
	}
	if err := json.Unmarshal(metadata, &model); err != nil {
		return "", fmt.Errorf("the model's metadata: %w", err)
	}
	if len(model.Inputs) == 0 {
		return "", errors.New("the model's metadata has no inputs")
	}
	type tensor struct {
		Name     string          `json:"name"`
		Shape    []int           `json:"shape"`
		Datatype string          `json:"datatype"`
		Data     json.RawMessage `json:"data"`
	}
	var request struct {
		Inputs []tensor `json:"inputs"`
	}
	for left := maxElements; len(request.Inputs) < len(model.Inputs); {
		in := model.Inputs[len(request.Inputs)]
		n := 1
		for i, d := range in.Shape {
			if in.Shape[i] = max(d, 1); in.Shape[i] > left/n {
				return "", fmt.Errorf("the model wants more than %d elements", maxElements)
			}
			n *= in.Shape[i]
		}
		if left -= n; left < 0 {
			return "", fmt.Errorf("the model wants more than %d elements", maxElements)
		}
		element := map[string]string{"BYTES": `"Test"`, "BOOL": "false"}[in.Datatype]
		if element == "" {
			element = "0"
		}
		data := "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
		request.Inputs = append(request.Inputs, tensor{in.Name, in.Shape, in.Datatype, json.RawMessage(data)})
	}
	body, err := json.Marshal(request)
	if err != nil {
		return "", fmt.Errorf("the model's metadata: %w", err) // unreachable: all of it marshals
	}
	return string(body), nil
}
