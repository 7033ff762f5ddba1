"""The contract's own lists: every route, field, option, variable, verb and flag that Ollama's clients may use.

A field is named by its route and its path in the request (`generate.keep_alive`) or in the answer (`generate → done`).
Fields that belong to several routes are listed once for each. The lists follow Ollama 0.33; what older versions had
and newer ones dropped stands in `GONE`, and options and variables that only other servers know are among them.
"""

from __future__ import annotations

ROUTES = (
    "GET /",
    "HEAD /",
    "GET /api/version",
    "HEAD /api/version",
    "GET /api/status",
    "GET /api/tags",
    "HEAD /api/tags",
    "POST /api/show",
    "GET /api/ps",
    "POST /api/generate",
    "POST /api/chat",
    "POST /api/embed",
    "POST /api/embeddings",
    "POST /api/pull",
    "POST /api/push",
    "POST /api/create",
    "POST /api/copy",
    "DELETE /api/delete",
    "POST /api/blobs/:digest",
    "HEAD /api/blobs/:digest",
    "POST /api/me",
    "POST /api/signout",
    "DELETE /api/user/keys/:encodedKey",
    "POST /api/experimental/web_search",
    "POST /api/experimental/web_fetch",
    "GET /api/experimental/model-recommendations",
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "POST /v1/responses",
    "POST /v1/audio/transcriptions",
    "POST /v1/messages",
    "GET /v1/models",
    "GET /v1/models/:model",
)

#: Routes and features of older versions, dropped by Ollama itself.
GONE = (
    "/api/experimental/aliases",
    "/v1/images/generations",
    "/v1/images/edits",
    "/debug/pprof/",
)

_INFERENCE = (
    *("model", "stream", "format", "keep_alive", "options", "think", "truncate", "shift"),
    *("logprobs", "top_logprobs", "_debug_render_only"),
)
_OPENAI = (
    *("model", "stream", "stream_options.include_usage", "max_tokens", "seed", "stop", "temperature", "top_p"),
    *("frequency_penalty", "presence_penalty"),
)
_FIGURES = (
    *("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"),
)
_DETAILS = ("parent_model", "format", "family", "families", "parameter_size", "quantization_level")

REQUEST_FIELDS = {
    "generate": (*_INFERENCE, "prompt", "suffix", "system", "template", "context", "raw", "images"),
    "chat": (*_INFERENCE, "messages", "tools"),
    "chat.messages[]": ("role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id"),
    "embed": ("model", "input", "truncate", "dimensions", "keep_alive", "options"),
    "embeddings": ("model", "prompt", "keep_alive", "options"),
    "show": ("model", "name", "verbose", "system", "template", "options"),
    "pull": ("model", "name", "stream", "insecure", "username", "password"),
    "push": ("model", "name", "stream", "insecure", "username", "password"),
    "create": (
        *("model", "name", "stream", "from", "remote_host", "files", "draft_files", "adapters", "template", "license"),
        *("system", "parameters", "messages", "renderer", "parser", "requires", "quantize", "quantization"),
        *("draft_quantize", "info", "modelfile", "path"),
    ),
    "copy": ("source", "destination"),
    "delete": ("model", "name"),
    "v1 chat": (
        *(*_OPENAI, "messages", "response_format", "tools", "reasoning.effort", "reasoning_effort", "logprobs"),
        *("top_logprobs", "_debug_render_only", "max_completion_tokens", "tool_choice", "parallel_tool_calls", "n"),
        *("logit_bias", "functions", "user", "options", "keep_alive", "think"),
    ),
    "v1 completions": (*_OPENAI, "prompt", "suffix", "logprobs", "n", "best_of", "echo"),
    "v1 embeddings": ("model", "input", "dimensions", "encoding_format"),
    "v1 transcriptions": ("model", "file", "response_format", "language", "prompt"),
    "v1 responses": (
        *("model", "input", "instructions", "max_output_tokens", "reasoning.effort", "reasoning.summary"),
        *("temperature", "top_p", "text.format", "truncation", "tools", "stream", "background"),
        *("previous_response_id", "conversation", "prompt", "include", "store", "tool_choice", "metadata"),
        *("parallel_tool_calls", "top_logprobs"),
    ),
    "v1 messages": (
        *("model", "max_tokens", "messages", "system", "stream", "temperature", "top_p", "top_k", "stop_sequences"),
        *("thinking.type", "thinking.budget_tokens", "output_config.effort", "output_config.format", "tools"),
        *("tool_choice", "metadata", "cache_control", "service_tier"),
    ),
    "v1 messages.content[]": (
        *("text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use"),
        *("web_search_tool_result", "document"),
    ),
}

ANSWER_FIELDS = {
    "generate": (
        *("model", "remote_model", "remote_host", "created_at", "response", "thinking", "done", "done_reason"),
        *("context", *_FIGURES, "tool_calls", "_debug_info", "logprobs"),
    ),
    "chat": (
        *("model", "remote_model", "remote_host", "created_at", "message.role", "message.content"),
        *("message.thinking", "message.tool_calls", "done", "done_reason", "_debug_info", "logprobs", *_FIGURES),
    ),
    "embed": ("model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"),
    "embeddings": ("embedding",),
    "tags": (
        *("name", "model", "remote_model", "remote_host", "modified_at", "size", "digest", "capabilities"),
        *(f"details.{name}" for name in (*_DETAILS, "context_length", "embedding_length")),
    ),
    "show": (
        *("license", "modelfile", "parameters", "template", "system", "renderer", "parser", "messages"),
        *("remote_model", "remote_host", "model_info", "projector_info", "tensors", "capabilities", "modified_at"),
        *("requires", *(f"details.{name}" for name in _DETAILS)),
    ),
    "ps": (
        *("name", "model", "size", "digest", "expires_at", "size_vram", "context_length"),
        *(f"details.{name}" for name in _DETAILS),
    ),
    "pull": ("status", "digest", "total", "completed"),
    "version": ("version",),
    "status": ("cloud.disabled", "cloud.source"),
    "v1 chat": (
        *("id", "object", "created", "model", "system_fingerprint", "usage", "_debug_info", "choices[].index"),
        *(f"choices[].message.{name}" for name in ("role", "content", "reasoning", "tool_calls")),
        *("choices[].delta", "choices[].finish_reason", "choices[].logprobs"),
    ),
    "v1 completions": (
        *("id", "object", "created", "model", "system_fingerprint", "usage"),
        *("choices[].text", "choices[].index", "choices[].finish_reason", "choices[].logprobs"),
    ),
    "v1 embeddings": ("object", "data[].object", "data[].embedding", "data[].index", "model", "usage"),
    "v1 responses": (
        *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "error", "model"),
        *("previous_response_id", "instructions", "tools", "tool_choice", "truncation", "parallel_tool_calls"),
        *("text", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning"),
        *("usage", "max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata"),
        *("safety_identifier", "prompt_cache_key", "output[].id", "output[].summary", "output[].encrypted_content"),
        *("output[].call_id", "output[].name", "output[].arguments", "output[].content[].text"),
        *("output[].content[].annotations", "output[].content[].logprobs"),
    ),
    "v1 messages": (
        *("id", "type", "role", "model", "stop_reason", "stop_sequence", "usage"),
        *(f"content[].{name}" for name in ("type", "text", "thinking", "signature", "id", "name", "input")),
    ),
    "v1 models": ("object", "data[].id", "data[].object", "data[].created", "data[].owned_by"),
}

OPTIONS = (
    *("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "draft_num_predict"),
    *("num_keep", "num_predict", "seed", "temperature", "top_k", "top_p", "min_p", "typical_p"),
    *("repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty", "stop"),
    *("mirostat", "mirostat_tau", "mirostat_eta", "tfs_z", "penalize_newline", "numa", "low_vram", "f16_kv"),
    *("use_mlock", "vocab_only", "logits_all", "num_gqa", "rope_frequency_base", "rope_frequency_scale"),
    *("embedding_only", "flash_attention", "num_thread_batch"),
)

VARIABLES = (
    *("OLLAMA_HOST", "OLLAMA_MODELS", "OLLAMA_KEEP_ALIVE", "OLLAMA_LOAD_TIMEOUT", "OLLAMA_CONTEXT_LENGTH"),
    *("OLLAMA_NUM_PARALLEL", "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_MAX_QUEUE", "OLLAMA_MAX_TRANSFER_STREAMS"),
    *("OLLAMA_ORIGINS", "OLLAMA_NOPRUNE", "OLLAMA_NOHISTORY", "OLLAMA_EDITOR", "OLLAMA_DEBUG"),
    *("OLLAMA_DEBUG_LOG_REQUESTS", "OLLAMA_FLASH_ATTENTION", "OLLAMA_KV_CACHE_TYPE", "OLLAMA_GO_TEMPLATE"),
    *("OLLAMA_SCHED_SPREAD", "OLLAMA_GPU_OVERHEAD", "OLLAMA_IGPU_ENABLE", "OLLAMA_VULKAN", "OLLAMA_LLM_LIBRARY"),
    *("LLAMA_ARG_FIT", "LLAMA_ARG_FIT_TARGET", "OLLAMA_REMOTES", "OLLAMA_NO_CLOUD", "OLLAMA_AUTH"),
    *("OLLAMA_CLOUD_BASE_URL", "OLLAMA_EXPERIMENT", "OLLAMA_AGENT_DISABLE_SHELL"),
    "OLLAMA_AGENT_DISABLE_WEBSEARCH",
    *("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
    *("GGML_VK_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("OLLAMA_TMPDIR", "OLLAMA_NUM_GPU", "OLLAMA_MULTIUSER_CACHE", "OLLAMA_NEW_ENGINE"),
    *("POWER_HOME", "HF_HOME", "HF_TOKEN"),
    *("MAX_CACHE_MODELS", "MODEL_LOAD_COOLDOWN", "MODEL_Q4_THRESHOLD_BYTES"),
)

#: The verbs of Ollama's command line, and the flags of each.
VERBS = {
    "ollama": ("-v, --version", "--verbose", "--nowordwrap"),
    "serve, start": (),
    "create": ("-f, --file", "-q, --quantize", "--draft-quantize", "--experimental"),
    "show": ("--license", "--modelfile", "--parameters", "--template", "--system", "-v, --verbose"),
    "run": (
        *("--keepalive", "--verbose", "--insecure", "--nowordwrap", "--format", "--think", "--hidethinking"),
        *("--truncate", "--dimensions"),
        *("--experimental", "--experimental-yolo", "--experimental-websearch"),
    ),
    "stop": (),
    "pull": ("--insecure",),
    "push": ("--insecure",),
    "list, ls": (),
    "ps": (),
    "cp": (),
    "rm": (),
    "signin, login": (),
    "signout, logout": (),
    "launch": ("--model", "--config", "--restore", "-y, --yes"),
    "help": (),
    "runner": (),
    "gpu-discover": (),
}
